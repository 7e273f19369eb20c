// A page whose login has ended, or whose server has started anew, cannot come back by itself: its socket is refused.
// While the connection is lost, it checks whether its login is still valid, and reloads if not, which leads to the login.
setInterval(async () => {
  const lost = document.getElementById("popup");
  if (!lost || lost.ariaHidden !== "false") return;
  try {
    const answer = await fetch(window.location.href, { method: "HEAD", redirect: "manual", cache: "no-store" });
    if (answer.type === "opaqueredirect") window.location.reload();
  } catch {
    // the server is away: NiceGUI goes on trying
  }
}, 2000);

// Times in the browser's zone: 2026-11-22 14:05:09, in Portuguese 22/11/2026 14:05:09.
window.esteira = (() => {
  const numbers = { year: "numeric", month: "2-digit", day: "2-digit", hour: "2-digit", minute: "2-digit" };
  const plain = new Intl.DateTimeFormat("en-GB", { ...numbers, second: "2-digit", hourCycle: "h23" });
  const names = {};

  function parts(at) {
    return Object.fromEntries(plain.formatToParts(at).map((part) => [part.type, part.value]));
  }

  // Such as "Brasilia Standard Time (America/Sao_Paulo, GMT-3)": the offset depends on the time that is shown.
  function zone(at, language) {
    const named = (timeZoneName) => {
      const key = language + timeZoneName;
      names[key] ??= new Intl.DateTimeFormat(language, { timeZoneName });
      return names[key].formatToParts(at).find((part) => part.type === "timeZoneName").value;
    };
    const { timeZone } = plain.resolvedOptions();
    try {
      return `${named("long")} (${timeZone}, ${named("shortOffset")})`;
    } catch {
      return timeZone; // a browser from before 2022
    }
  }

  function moment(ms, style, language) {
    const at = new Date(ms);
    if (Number.isNaN(at.getTime())) return { at: String(ms), text: String(ms), zone: "" };
    const { year, month, day, hour, minute, second } = parts(at);
    const time = `${hour}:${minute}:${second}`;
    const date = language === "pt-BR" ? `${day}/${month}/${year}` : `${year}-${month}-${day}`;
    return { at: at.toISOString(), text: style === "time" ? time : `${date} ${time}`, zone: zone(at, language) };
  }

  // The label of a minute on the axis of a chart.
  function clock(ms) {
    const { hour, minute } = parts(new Date(Number(ms)));
    return `${hour}:${minute}`;
  }

  return { moment, clock };
})();

// The settings close with Escape, and with a click outside of them.
const settings = () => document.querySelector("details.settings[open]");
document.addEventListener("click", (event) => {
  const open = settings();
  if (open && !open.contains(event.target)) open.open = false;
});
document.addEventListener("keydown", (event) => {
  const open = event.key === "Escape" && settings();
  if (!open) return;
  open.open = false;
  open.querySelector("summary").focus();
});
