/** whatsapp-web.js: `client.on('message', (msg) => …)`, an object around WhatsApp Web's own record in `_data`. */

import { isObject } from './plain.js';
import { webHandOver } from './webForm.js';
import type { MessageForm } from './form.js';

export const wwebjs: MessageForm = {
    matches: (msg) => isObject(msg['_data']),
    handOver(msg, session) {
        const data = msg['_data'] as Record<string, unknown>;
        const id = data['id'] ?? msg['id'];
        const fromMe = data['fromMe'] ?? msg['fromMe'] ?? (isObject(id) && id['fromMe'] === true);
        return webHandOver({ ...data, id, fromMe, type: data['type'] ?? msg['type'] }, session);
    },
};
