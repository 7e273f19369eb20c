/** WPPConnect: `client.onMessage((msg) => …)`, a plain object of WhatsApp Web. */

import { isObject } from './plain.js';
import { webHandOver } from './webForm.js';
import type { MessageForm } from './form.js';

export const wppconnect: MessageForm = {
    matches: (msg) => (typeof msg['id'] === 'string' || isObject(msg['id'])) && typeof msg['type'] === 'string',
    handOver: webHandOver,
};
