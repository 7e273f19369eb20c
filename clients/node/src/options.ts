/** The options of a client, with their defaults and their names in the environment. */

import { join } from 'node:path';
import { OptionError } from './errors.js';
import { secretsIn } from './webhooks.js';
import type { FormName } from './messages/index.js';
import type { EsteiraError } from './errors.js';

const DAY_MS = 86_400_000;

/** The folder for hand-overs while the server is away, and its limits. */
export interface SpoolOptions {
    folder?: string;
    maxEntries?: number;
    maxBytes?: number;
    maxAgeMs?: number;
}

/** Processes a message in the listener itself, when neither server nor spool take it. */
export type Fallback = (msg: object, session: string, error: EsteiraError) => unknown;

export interface ClientOptions {
    /** The address of the web app; ESTEIRA_URL, or http://127.0.0.1:8000. */
    url?: string;
    /** The API_TOKEN of the server or a user's token; ESTEIRA_TOKEN, or API_TOKEN. */
    token?: string;
    /** The longest time that a hand-over waits for the server. */
    timeoutMs?: number;
    /** The longest time that a call of the API and a hand-over from the spool wait. */
    requestTimeoutMs?: number;
    /** Hand-overs that are sent at the same time; the others wait for their turn, within `timeoutMs`. */
    concurrency?: number;
    /** The spool; false for none. */
    spool?: SpoolOptions | false;
    fallback?: Fallback;
    /** The form of messages, where it cannot be told from the message itself. */
    form?: FormName;
    /** The secrets that webhooks are signed with; WEBHOOK_SECRET, separated by commas. */
    webhookSecret?: string | readonly string[];
}

export interface SpoolSettings {
    folder: string;
    maxEntries: number;
    maxBytes: number;
    maxAgeMs: number;
}

export interface Settings {
    url: string;
    token: string;
    timeoutMs: number;
    requestTimeoutMs: number;
    concurrency: number;
    spool: SpoolSettings | null;
    fallback: Fallback | null;
    form: FormName | null;
    webhookSecrets: readonly string[];
}

/** The options with their defaults. Throws OptionError, which names the option and not its value. */
export function settingsOf(options: ClientOptions, env: NodeJS.ProcessEnv = process.env): Settings {
    const secret = options.webhookSecret ?? env['WEBHOOK_SECRET'] ?? '';
    return {
        url: checkedUrl(options.url ?? (env['ESTEIRA_URL'] || 'http://127.0.0.1:8000')),
        token: checkedToken(options.token ?? env['ESTEIRA_TOKEN'] ?? env['API_TOKEN'] ?? ''),
        timeoutMs: positive('timeoutMs', options.timeoutMs, 2000),
        requestTimeoutMs: positive('requestTimeoutMs', options.requestTimeoutMs, 30_000),
        concurrency: positive('concurrency', options.concurrency, 16),
        spool: options.spool === false ? null : spoolSettings(options.spool ?? {}, env),
        fallback: options.fallback ?? null,
        form: options.form ?? null,
        webhookSecrets: secretsIn(secret),
    };
}

function spoolSettings(options: SpoolOptions, env: NodeJS.ProcessEnv): SpoolSettings {
    return {
        folder: options.folder ?? (env['ESTEIRA_SPOOL'] || join(process.cwd(), 'esteira-spool')),
        maxEntries: positive('spool.maxEntries', options.maxEntries, 10_000),
        maxBytes: positive('spool.maxBytes', options.maxBytes, 2 ** 30),
        maxAgeMs: positive('spool.maxAgeMs', options.maxAgeMs, 14 * DAY_MS),
    };
}

function checkedUrl(text: string): string {
    let url: URL;
    try {
        url = new URL(text);
    } catch {
        throw new OptionError('url (ESTEIRA_URL) is not an address such as http://127.0.0.1:8000');
    }
    if (!/^https?:$/.test(url.protocol)) throw new OptionError('url (ESTEIRA_URL) must begin with http:// or https://');
    if (url.username || url.password || url.search || url.hash) {
        throw new OptionError('url (ESTEIRA_URL) must have no password, query or fragment: the token is an option');
    }
    return url.href.replace(/\/+$/, '');
}

function checkedToken(token: string): string {
    if (!token)
        throw new OptionError('token (ESTEIRA_TOKEN) is missing: the API_TOKEN of the server, or a user’s token');
    if (/\p{Cc}/u.test(token) || token !== token.trim()) {
        throw new OptionError('token (ESTEIRA_TOKEN) has a line end, or a blank at its start or end');
    }
    return token;
}

function positive(name: string, value: number | undefined, otherwise: number): number {
    if (value === undefined) return otherwise;
    if (!Number.isFinite(value) || value <= 0) throw new OptionError(`${name} must be a positive number`);
    return value;
}
