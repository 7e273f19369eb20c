/** The forms of messages, and what a message becomes for the server. A new form is a module and a line in FORMS. */

import { MessageError, OptionError } from '../errors.js';
import { baileys } from './baileys.js';
import { generic } from './generic.js';
import { isObject } from './plain.js';
import { venom } from './venom.js';
import { wppconnect } from './wppconnect.js';
import { wwebjs } from './wwebjs.js';
import type { HandOver, MessageForm, WithoutMedia } from './form.js';

/** By name, the most particular forms first: the first that matches is taken. */
const FORMS = { generic, wwebjs, baileys, venom, wppconnect } satisfies Record<string, MessageForm>;

export type FormName = keyof typeof FORMS;

/** The request for a message of a form, or of the form that it has. Throws MessageError. */
export function handOverOf(msg: object, session: string | undefined, name: FormName | null): HandOver | WithoutMedia {
    if (!isObject(msg)) throw new MessageError('a message is an object');
    const form: MessageForm | undefined = name ? FORMS[name] : Object.values(FORMS).find((one) => one.matches(msg));
    if (!form && name) throw new OptionError(`form must be one of ${Object.keys(FORMS).join(', ')}`);
    if (!form) throw new MessageError('a message of an unknown form: no message_id, no key, no id with a type');
    const own = session ?? msg['session'];
    if (typeof own !== 'string' || !own.trim()) throw new MessageError('the session is missing');
    return form.handOver(msg, own);
}
