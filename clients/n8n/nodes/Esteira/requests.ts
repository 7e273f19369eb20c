import { NodeApiError } from 'n8n-workflow';
import type { IDataObject, IExecuteFunctions, IHttpRequestOptions, IN8nHttpFullResponse, JsonObject } from 'n8n-workflow';

/** A request to the web app; `path` begins with a slash. */
export type EsteiraRequest = Pick<IHttpRequestOptions, 'method' | 'qs' | 'body' | 'headers' | 'encoding' | 'timeout'> & {
    path: string;
};

/** An answer 2xx of the web app. */
export interface EsteiraAnswer {
    status: number;
    headers: IDataObject;
    body: unknown;
}

const TIMEOUT_MS = 60_000;

/**
 * Sends a request with the credentials of the node.
 *
 * Throws a NodeApiError: with Esteira's message, and its code in the description, for an answer other than 2xx.
 */
export async function send(this: IExecuteFunctions, request: EsteiraRequest, itemIndex: number): Promise<EsteiraAnswer> {
    const { url } = await this.getCredentials<{ url: string }>('esteiraApi', itemIndex);
    const { path, ...options } = request;
    const answer = (await this.helpers.httpRequestWithAuthentication.call(this, 'esteiraApi', {
        timeout: TIMEOUT_MS,
        ...options,
        url: `${String(url).replace(/\/+$/, '')}${path}`,
        returnFullResponse: true,
        ignoreHttpStatusErrors: true,
        disableFollowRedirect: true,
    } satisfies IHttpRequestOptions)) as IN8nHttpFullResponse;
    const { statusCode: status, headers } = answer;
    if (status >= 200 && status < 300) return { status, headers: headers as IDataObject, body: answer.body };
    const error = errorIn(await textOf.call(this, answer.body));
    throw new NodeApiError(this.getNode(), { status, ...error } as JsonObject, {
        message: error.message ?? `The server answers ${status}: check the URL of the credentials`,
        description: descriptionOf(status, error.code, headers as IDataObject),
        httpCode: String(status),
        itemIndex,
    });
}

/** The JSON object in an answer. Throws a NodeApiError if something else answers in place of Esteira. */
export function objectIn(this: IExecuteFunctions, answer: EsteiraAnswer, itemIndex: number): IDataObject {
    const body = typeof answer.body === 'string' ? parsed(answer.body) : answer.body;
    if (body !== null && typeof body === 'object' && !Array.isArray(body)) return body as IDataObject;
    throw new NodeApiError(this.getNode(), { status: answer.status } as JsonObject, {
        message: 'The answer is not one of Esteira: check the URL of the credentials',
        itemIndex,
    });
}

function descriptionOf(status: number, code: string | undefined, headers: IDataObject): string {
    const wait = headers['retry-after'];
    const again = wait === undefined ? '' : `, try again after ${String(wait)} s (Settings, Retry On Fail)`;
    return `Code ${code ?? 'bad_reply'}, status ${status}${again}`;
}

function errorIn(text: string): { code?: string; message?: string } {
    const body = parsed(text) as { error?: { code?: unknown; message?: unknown } } | null;
    const error = body?.error;
    return typeof error?.message === 'string' ? { code: String(error.code), message: error.message } : {};
}

function parsed(text: string): unknown {
    try {
        return JSON.parse(text) as unknown;
    } catch {
        return null;
    }
}

async function textOf(this: IExecuteFunctions, body: unknown): Promise<string> {
    if (typeof body === 'string') return body;
    if (Buffer.isBuffer(body)) return body.toString();
    if (body !== null && typeof body === 'object' && 'pipe' in body) {
        return (await this.helpers.binaryToBuffer(body as NodeJS.ReadableStream as never)).toString();
    }
    return JSON.stringify(body ?? null);
}
