/** Webhooks of Esteira: their signature after Standard Webhooks, and a handler for node:http and Express. */

import { createHmac, timingSafeEqual } from 'node:crypto';
import { EsteiraError, OptionError, WebhookError } from './errors.js';
import { isObject } from './messages/plain.js';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { MediaEvent } from './events.js';

const TOLERANCE_S = 300;
const MAX_BODY = 2 ** 20;

export type HeaderSource = Record<string, string | string[] | undefined> | { get(name: string): string | null };

export interface VerifyOptions {
    /** Seconds by which the sender's clock and the age of a request may be off. */
    toleranceS?: number;
    /** The time in Unix milliseconds. */
    now?: number;
}

/**
 * The event in a request of Esteira. `body` is the body as it came; one of `secrets`, a list or a text with commas, has
 * signed it.
 *
 * Throws WebhookError: `bad_signature`, `too_old` or `bad_body`; OptionError if there is no secret.
 */
export function verifyWebhook(
    headers: HeaderSource,
    body: string | Uint8Array,
    secrets: string | readonly string[],
    options: VerifyOptions = {},
): MediaEvent {
    const keys = secretsIn(secrets).map(keyOf);
    if (keys.length === 0) throw new OptionError('webhookSecret (WEBHOOK_SECRET) is missing');
    const [id, timestamp, signatures] = ['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) =>
        headerOf(headers, name),
    );
    if (!id || !timestamp || !signatures) throw new WebhookError('bad_signature', 'the request carries no signature');
    const bytes = typeof body === 'string' ? Buffer.from(body) : Buffer.from(body.buffer, body.byteOffset, body.length);
    const shown = signatures.split(' ').map((one) => Buffer.from(one));
    if (!keys.some((key) => isSigned(key, `${id}.${timestamp}.`, bytes, shown))) {
        throw new WebhookError('bad_signature', 'no secret fits the signature, or the body was changed on its way');
    }
    const age = Math.abs((options.now ?? Date.now()) / 1000 - Number(timestamp));
    if (!(age <= (options.toleranceS ?? TOLERANCE_S))) {
        throw new WebhookError('too_old', 'the request is too old, or a clock is wrong');
    }
    return eventOf(bytes);
}

/** The secrets in the setting WEBHOOK_SECRET: one, or several with commas. */
export function secretsIn(given: string | readonly string[]): string[] {
    const secrets = typeof given === 'string' ? given.split(',') : given;
    return secrets.map((one) => one.trim()).filter((one) => one);
}

function keyOf(secret: string): Buffer {
    const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64');
    if (key.length === 0) throw new OptionError('webhookSecret (WEBHOOK_SECRET) is empty or no base64');
    return key;
}

function isSigned(key: Buffer, head: string, body: Buffer, shown: readonly Buffer[]): boolean {
    const due = Buffer.from(`v1,${createHmac('sha256', key).update(head).update(body).digest('base64')}`);
    return shown.some((one) => one.length === due.length && timingSafeEqual(one, due));
}

function headerOf(headers: HeaderSource, name: string): string {
    if (typeof headers.get === 'function') return (headers as { get(name: string): string | null }).get(name) ?? '';
    const [, value] = Object.entries(headers).find(([one]) => one.toLowerCase() === name) ?? [];
    return (Array.isArray(value) ? value[0] : value) ?? '';
}

function eventOf(body: Buffer): MediaEvent {
    let event: unknown;
    try {
        event = JSON.parse(body.toString('utf8'));
    } catch {
        event = null;
    }
    if (!isObject(event) || typeof event['type'] !== 'string' || typeof event['event_id'] !== 'string') {
        throw new WebhookError('bad_body', 'the body is not an event');
    }
    return event as unknown as MediaEvent;
}

/** A request of node:http, of Express, or of a framework that keeps the body in `rawBody`. */
export type WebhookRequest = IncomingMessage & { body?: unknown; rawBody?: unknown };
export type WebhookHandler = (request: WebhookRequest, response: ServerResponse) => Promise<void>;

/**
 * A handler that answers 204 after `accept` has ended, and 500 if it throws: then Esteira sends the event again.
 * `media.expired` is answered first, because its listeners replay: until the answer, the attachment has not ended.
 * 401: not signed with one of the secrets.
 */
export function webhookHandler(
    secrets: readonly string[],
    accept: (event: MediaEvent) => Promise<void>,
    report: (error: EsteiraError) => void,
): WebhookHandler {
    if (secrets.length === 0) throw new OptionError('webhookSecret (WEBHOOK_SECRET) is missing');
    return async (request, response) => {
        let status = 204;
        try {
            if (request.method !== 'POST') throw new WebhookError('bad_method', 'a webhook is a POST', { status: 405 });
            const event = verifyWebhook(request.headers, await rawBody(request), secrets);
            if (event.type === 'media.expired') response.writeHead(204).end();
            await accept(event);
        } catch (error) {
            status = statusFor(error);
            report(reported(error));
        }
        if (!response.headersSent) response.writeHead(status).end();
    };
}

function statusFor(error: unknown): number {
    if (!(error instanceof WebhookError)) return 500;
    return error.status ?? (error.code === 'bad_body' ? 400 : 401);
}

function reported(error: unknown): EsteiraError {
    if (error instanceof EsteiraError) return error;
    return new EsteiraError('listener', `a listener of a result failed: ${String(error)}`);
}

/** The bytes of the body. */
async function rawBody(request: WebhookRequest): Promise<Uint8Array> {
    for (const body of [request.rawBody, request.body]) if (body instanceof Uint8Array) return body;
    if (request.readableEnded || isObject(request.body)) {
        const remedy = 'use express.raw({ type: "application/json" }) for this path';
        throw new OptionError(`the body was parsed before its signature could be verified: ${remedy}`);
    }
    const parts: Uint8Array[] = [];
    let size = 0;
    for await (const part of request as AsyncIterable<Uint8Array>) {
        size += part.length;
        if (size > MAX_BODY) throw new WebhookError('too_large', 'the body is too large', { status: 413 });
        parts.push(part);
    }
    return Buffer.concat(parts);
}
