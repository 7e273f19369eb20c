// A text with times in the browser's zone, and with names that may be written from right to left; see moments.py.
export default {
  template: `<component :is="root"><template v-for="piece in shown"><time v-if="piece.at" :datetime="piece.at"
    :title="piece.zone">{{ piece.text }}</time><bdi v-else-if="piece.name">{{ piece.name }}</bdi><template
    v-else>{{ piece.text }}</template></template></component>`,
  props: { root: String, language: String, pieces: Array },
  computed: {
    shown() {
      return this.pieces.map((piece) => {
        if (typeof piece === "string") return { text: piece };
        return "ms" in piece ? window.esteira.moment(piece.ms, piece.style, this.language) : piece;
      });
    },
  },
};
