/** Converts the objects of WhatsApp's libraries to plain JSON. */

const MAX_DEPTH = 32;
/** Previews, waveforms and quoted messages: large or of another message, and of no use to the server. */
const LEFT_OUT = new Set([
    'contextInfo',
    'jpegThumbnail',
    'messageContextInfo',
    'pngThumbnail',
    'scanLengths',
    'scansSidecar',
    'streamingSidecar',
    'waveform',
]);

/**
 * A value as plain JSON: bytes as base64, 64-bit numbers as text, without empty and unneeded fields, and without
 * references to the objects around it (`parents`), of which there may be many.
 */
export function plain(value: unknown, parents: readonly object[] = []): unknown {
    if (typeof value === 'bigint') return value.toString();
    if (value instanceof Uint8Array) return base64(value);
    if (value instanceof Date) return Math.floor(value.getTime() / 1000);
    if (typeof value !== 'object' || value === null) return typeof value === 'function' ? undefined : value;
    if (parents.length === MAX_DEPTH || parents.includes(value)) return undefined;
    if (isLong(value)) return longText(value);
    const within = [...parents, value];
    if (Array.isArray(value)) return value.map((one) => plain(one, within) ?? null);
    const fields: Record<string, unknown> = {};
    for (const [name, field] of Object.entries(value)) {
        if (field === null || LEFT_OUT.has(name)) continue;
        const text = plain(field, within);
        if (text !== undefined) fields[name] = text;
    }
    return fields;
}

export function base64(bytes: Uint8Array): string {
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64');
}

interface Long {
    low: number;
    high: number;
    unsigned: boolean;
}

/** A 64-bit number of protobuf.js. */
function isLong(value: object): value is Long {
    const long = value as Partial<Long>;
    return typeof long.low === 'number' && typeof long.high === 'number' && typeof long.unsigned === 'boolean';
}

function longText(long: Long): string {
    const bits = (BigInt(long.high >>> 0) << 32n) | BigInt(long.low >>> 0);
    return (long.unsigned ? bits : BigInt.asIntN(64, bits)).toString();
}

export function isObject(value: unknown): value is Record<string, unknown> {
    return typeof value === 'object' && value !== null && !Array.isArray(value);
}
