import { createHmac, timingSafeEqual } from 'node:crypto';

const TOLERANCE_S = 300;

/** The headers of a webhook, with lower-case names. */
export type WebhookHeaders = Record<string, string | string[] | undefined>;

/**
 * Why a webhook is not one that Esteira signed (Standard Webhooks), or null if it is.
 *
 * `body` has the bytes as they came. `secrets` are `whsec_…`, several of them separated by commas.
 */
export function faultOf(headers: WebhookHeaders, body: Buffer, secrets: string): string | null {
    const id = headers['webhook-id'];
    const sentAt = headers['webhook-timestamp'];
    const signatures = headers['webhook-signature'];
    if (typeof id !== 'string' || typeof sentAt !== 'string' || typeof signatures !== 'string') {
        return 'webhook-id, webhook-timestamp or webhook-signature is missing';
    }
    if (!/^\d{1,12}$/.test(sentAt) || Math.abs(Date.now() / 1000 - Number(sentAt)) > TOLERANCE_S) {
        return `webhook-timestamp is not within ${TOLERANCE_S} s: it is old, or a clock is wrong`;
    }
    const keys = secrets.split(',').map((secret) => Buffer.from(secret.trim().replace(/^whsec_/, ''), 'base64'));
    if (keys.every((key) => key.length === 0)) return 'the Webhook Secret of the credentials is not set';
    const signed = Buffer.concat([Buffer.from(`${id}.${sentAt}.`), body]);
    const shown = signatures.split(' ').map((signature) => Buffer.from(signature));
    const isKnown = keys.some((key) => key.length && shown.some((signature) => isSignedWith(key, signed, signature)));
    return isKnown ? null : 'the signature is not that of this body and secret';
}

function isSignedWith(key: Buffer, signed: Buffer, signature: Buffer): boolean {
    const expected = Buffer.from(`v1,${createHmac('sha256', key).update(signed).digest('base64')}`);
    return expected.length === signature.length && timingSafeEqual(expected, signature);
}
