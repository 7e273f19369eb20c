/** The protocol of a form of messages, and what it makes of a message. */

/** Bytes that are sent with a hand-over. */
export type Bytes = { data: Uint8Array } | { file: string };

/** A request that hands one message over: its `body`, or the text `fields` of a form with `bytes`. */
export interface HandOver {
    path: string;
    id: string;
    messageId: string;
    body?: Record<string, unknown>;
    fields?: Record<string, string>;
    bytes?: Bytes;
}

/** A text or another message that never has a file: the server need not hear of it. */
export interface WithoutMedia {
    messageId: string;
    path: null;
}

/** One form of messages. */
export interface MessageForm {
    /** Whether a message has this form. */
    matches(msg: Record<string, unknown>): boolean;
    /** The request for a message. Throws MessageError. */
    handOver(msg: Record<string, unknown>, session: string): HandOver | WithoutMedia;
}
