/** esteira-client: hands WhatsApp media over to Esteira, and keeps it in a spool while the server is away. */

import { EsteiraClient } from './client.js';
import type { Receipt } from './receipt.js';

export { EsteiraClient } from './client.js';
export {
    EsteiraError,
    MessageError,
    OptionError,
    RefusedError,
    SpoolError,
    SpoolFullError,
    UnauthorizedError,
    UnavailableError,
    WebhookError,
} from './errors.js';
export { verifyWebhook } from './webhooks.js';
export type { HandOverOptions, MediaRecord, Replay, ReplaySource } from './client.js';
export type { Content, ContentOptions } from './content.js';
export type { ClientEvents, MediaEvent, ResultType } from './events.js';
export type { LiveConnection, LiveOptions } from './live.js';
export type { GenericMessage } from './messages/generic.js';
export type { FormName } from './messages/index.js';
export type { ClientOptions, Fallback, SpoolOptions } from './options.js';
export type { Receipt, ReceivedAttachment, Status } from './receipt.js';
export type { HeaderSource, VerifyOptions, WebhookHandler } from './webhooks.js';

let shared: EsteiraClient | null = null;

/** The client with the settings of the environment: ESTEIRA_URL, ESTEIRA_TOKEN, ESTEIRA_SPOOL, WEBHOOK_SECRET. */
export function defaultClient(): EsteiraClient {
    shared ??= new EsteiraClient();
    return shared;
}

/**
 * Hands a message over with the client of the environment. It takes the arguments of the function of this name in the
 * BullMQ design, so that its calls stay as they are; the contact is not needed.
 */
export function processMediaAsync(msg: object, session?: string, _contact?: unknown): Promise<Receipt> {
    return defaultClient().processMediaAsync(msg, session);
}
