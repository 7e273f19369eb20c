/** venom: `client.onMessage((message) => …)`. Own messages say so in their id alone; a file may be in `content`. */

import { wppconnect } from './wppconnect.js';
import { webHandOver } from './webForm.js';
import type { MessageForm } from './form.js';

export const venom: MessageForm = {
    matches: (msg) => 'isOnline' in msg && wppconnect.matches(msg),
    handOver(msg, session) {
        const fromMe = msg['fromMe'] ?? String(msg['id']).startsWith('true_');
        return webHandOver({ ...msg, fromMe, body: msg['body'] ?? msg['content'] }, session);
    },
};
