import { NodeOperationError } from 'n8n-workflow';
import type { IDataObject, IExecuteFunctions, INodeExecutionData } from 'n8n-workflow';
import { formWithFile } from './multipart';
import { objectIn, send } from './requests';

/** Carries out an operation for one item; returns its output, without `pairedItem`. */
export type Operation = (this: IExecuteFunctions, itemIndex: number) => Promise<INodeExecutionData>;

const CONTENT_TIMEOUT_MS = 600_000;
const ANSWER_MS = 30_000; // beyond the seconds that the server waits

export const OPERATIONS: Record<string, Operation> = { handOver, get, getContent, replay };

async function handOver(this: IExecuteFunctions, itemIndex: number): Promise<INodeExecutionData> {
    const source = this.getNodeParameter('source', itemIndex) as string;
    if (source === 'message') return { json: await handOverMessage.call(this, itemIndex) };
    const wait = this.getNodeParameter('wait', itemIndex, 0) as number;
    const fields: IDataObject = {
        ...(this.getNodeParameter('additionalFields', itemIndex, {}) as IDataObject),
        session: textOf.call(this, 'session', itemIndex),
        message_id: textOf.call(this, 'messageId', itemIndex),
    };
    const body =
        source === 'binary'
            ? await form.call(this, fields, itemIndex)
            : { body: { ...fields, url: this.getNodeParameter('url', itemIndex) } as IDataObject };
    const answer = await send.call(
        this,
        {
            method: 'POST',
            path: '/hooks/media',
            ...body,
            ...(wait > 0 && { qs: { wait }, timeout: wait * 1000 + ANSWER_MS }),
        },
        itemIndex,
    );
    const reply = objectIn.call(this, answer, itemIndex);
    return { json: 'accepted' in reply ? receipt(reply) : { mode: 'ended', ...reply } };
}

/** A parameter that identifies the attachment: an expression without a value must not make one of several items. */
function textOf(this: IExecuteFunctions, name: 'session' | 'messageId', itemIndex: number): string {
    const value = this.getNodeParameter(name, itemIndex, '') as unknown;
    if ((typeof value === 'string' && value.trim()) || typeof value === 'number') return String(value);
    const label = name === 'session' ? 'Session' : 'Message ID';
    throw new NodeOperationError(this.getNode(), `The ${label} is empty, or neither text nor a number`, { itemIndex });
}

async function handOverMessage(this: IExecuteFunctions, itemIndex: number): Promise<IDataObject> {
    const gateway = this.getNodeParameter('gateway', itemIndex) as string;
    const given = this.getNodeParameter('message', itemIndex);
    const body = typeof given === 'string' ? parsed(given) : given;
    if (body === null || typeof body !== 'object') {
        throw new NodeOperationError(this.getNode(), 'The message is not a JSON object', {
            description: 'Use the body of the Webhook node: {{ $json.body }}',
            itemIndex,
        });
    }
    const answer = await send.call(
        this,
        { method: 'POST', path: `/hooks/${encodeURIComponent(gateway)}`, body: body as IDataObject },
        itemIndex,
    );
    return receipt(objectIn.call(this, answer, itemIndex));
}

async function form(this: IExecuteFunctions, fields: IDataObject, itemIndex: number) {
    const property = this.getNodeParameter('binaryPropertyName', itemIndex) as string;
    const binary = this.helpers.assertBinaryData(itemIndex, property);
    return formWithFile(fields, {
        data: await this.helpers.getBinaryDataBuffer(itemIndex, property),
        name: binary.fileName ?? 'file',
        mimetype: binary.mimeType,
    });
}

/** What the server has accepted: the first attachment, and all of them. */
function receipt(reply: IDataObject): IDataObject {
    const attachments = (reply.accepted ?? []) as IDataObject[];
    const [first] = attachments;
    if (!first) return { mode: 'ignored', id: null, message_id: null, status: null, attachments };
    return { mode: 'accepted', id: first.id, message_id: first.message_id, status: first.status, attachments };
}

async function get(this: IExecuteFunctions, itemIndex: number): Promise<INodeExecutionData> {
    const answer = await send.call(this, { method: 'GET', path: mediaPath.call(this, itemIndex) }, itemIndex);
    return { json: objectIn.call(this, answer, itemIndex) };
}

async function getContent(this: IExecuteFunctions, itemIndex: number): Promise<INodeExecutionData> {
    const property = this.getNodeParameter('binaryPropertyOutput', itemIndex) as string;
    const path = mediaPath.call(this, itemIndex);
    const { headers, body } = await send.call(
        this,
        // Without the redirect to an object store: n8n would send the token there.
        { method: 'GET', path: `${path}/content`, qs: { redirect: 'false' }, encoding: 'stream', timeout: CONTENT_TIMEOUT_MS },
        itemIndex,
    );
    const mime = String(headers['content-type'] ?? 'application/octet-stream');
    const name = fileName(String(headers['content-disposition'] ?? ''));
    const binary = await this.helpers.prepareBinaryData(body as Buffer, name, mime);
    const id = this.getNodeParameter('mediaId', itemIndex) as string;
    return { json: { id, name: name ?? null, mime }, binary: { [property]: binary } };
}

async function replay(this: IExecuteFunctions, itemIndex: number): Promise<INodeExecutionData> {
    const body = await replaySource.call(this, itemIndex);
    const path = `${mediaPath.call(this, itemIndex)}/replay`;
    const answer = await send.call(this, { method: 'POST', path, ...(body && { body }) }, itemIndex);
    return { json: objectIn.call(this, answer, itemIndex) };
}

async function replaySource(this: IExecuteFunctions, itemIndex: number): Promise<IDataObject | undefined> {
    const source = this.getNodeParameter('replaySource', itemIndex, 'none') as string;
    if (source === 'url') return { url: this.getNodeParameter('replayUrl', itemIndex) as string };
    if (source !== 'binary') return undefined;
    const property = this.getNodeParameter('replayBinary', itemIndex) as string;
    return { data: (await this.helpers.getBinaryDataBuffer(itemIndex, property)).toString('base64') };
}

function mediaPath(this: IExecuteFunctions, itemIndex: number): string {
    const id = String(this.getNodeParameter('mediaId', itemIndex));
    if (!/^[0-9a-f]{32}$/.test(id)) {
        throw new NodeOperationError(this.getNode(), 'The attachment ID is not 32 hex digits', { itemIndex });
    }
    return `/media/${id}`;
}

function fileName(disposition: string): string | undefined {
    const extended = /filename\*=UTF-8''([^;]+)/i.exec(disposition)?.[1];
    return extended ? decodeURIComponent(extended) : /filename="([^"]+)"/i.exec(disposition)?.[1];
}

function parsed(text: string): unknown {
    try {
        return JSON.parse(text) as unknown;
    } catch {
        return null;
    }
}
