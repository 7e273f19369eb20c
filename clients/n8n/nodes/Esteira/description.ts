import type { INodeProperties } from 'n8n-workflow';

const KINDS = ['audio', 'document', 'image', 'ptt', 'sticker', 'video'];

const show = (operation: string[], source?: string[]) => ({
    displayOptions: { show: { operation, ...(source && { source }) } },
});

const operations: INodeProperties[] = [
    {
        displayName: 'Operation',
        name: 'operation',
        type: 'options',
        noDataExpression: true,
        default: 'handOver',
        options: [
            {
                name: 'Get',
                value: 'get',
                action: 'Get an attachment',
                description: 'Get the status, type, name and history of an attachment',
            },
            {
                name: 'Get Content',
                value: 'getContent',
                action: 'Get the content of an attachment',
                description: 'Get the stored file as binary data',
            },
            {
                name: 'Hand Over',
                value: 'handOver',
                action: 'Hand media over',
                description: 'Have media downloaded, decrypted, checked and stored',
            },
            {
                name: 'Replay',
                value: 'replay',
                action: 'Replay an attachment',
                description: 'Process an attachment again that failed, was rejected or has expired',
            },
        ],
    },
];

const attachment: INodeProperties[] = [
    {
        displayName: 'Attachment ID',
        name: 'mediaId',
        type: 'string',
        required: true,
        default: '={{ $json.id }}',
        description: 'The ID that Hand Over returns and events contain',
        ...show(['get', 'getContent', 'replay']),
    },
    {
        displayName: 'Put Output File in Field',
        name: 'binaryPropertyOutput',
        type: 'string',
        required: true,
        default: 'data',
        hint: 'The name of the output binary field to put the file in',
        ...show(['getContent']),
    },
    {
        displayName: 'Source',
        name: 'replaySource',
        type: 'options',
        default: 'none',
        options: [
            { name: 'Binary File', value: 'binary', description: 'The file itself' },
            { name: 'None', value: 'none', description: 'From the stage that failed, with the bytes that it had' },
            { name: 'URL', value: 'url', description: 'Download the file from another address' },
        ],
        description: 'Where the bytes are this time',
        ...show(['replay']),
    },
    {
        displayName: 'URL',
        name: 'replayUrl',
        type: 'string',
        required: true,
        default: '',
        displayOptions: { show: { operation: ['replay'], replaySource: ['url'] } },
    },
    {
        displayName: 'Input Binary Field',
        name: 'replayBinary',
        type: 'string',
        required: true,
        default: 'data',
        hint: 'The name of the input binary field that contains the file',
        displayOptions: { show: { operation: ['replay'], replaySource: ['binary'] } },
    },
];

const handOver: INodeProperties[] = [
    {
        displayName: 'Source',
        name: 'source',
        type: 'options',
        default: 'message',
        options: [
            { name: 'Binary File', value: 'binary', description: 'A file that this workflow has' },
            {
                name: 'Message of a Gateway',
                value: 'message',
                description: 'What a gateway sends to a Webhook node; messages without media are ignored',
            },
            { name: 'URL', value: 'url', description: 'A file at an address' },
        ],
        ...show(['handOver']),
    },
    {
        displayName: 'Gateway',
        name: 'gateway',
        type: 'options',
        default: 'wppconnect',
        options: [
            { name: 'Evolution API', value: 'evolution' },
            { name: 'GOWA', value: 'gowa' },
            { name: 'Meta Cloud API', value: 'cloud' },
            { name: 'WAHA', value: 'waha' },
            { name: 'WPPConnect', value: 'wppconnect' },
        ],
        description: 'The program that has sent the message',
        ...show(['handOver'], ['message']),
    },
    {
        displayName: 'Message',
        name: 'message',
        type: 'json',
        required: true,
        default: '={{ $json.body }}',
        description: 'The body of the webhook as it came, as JSON',
        ...show(['handOver'], ['message']),
    },
    {
        displayName: 'Session',
        name: 'session',
        type: 'string',
        required: true,
        default: '',
        placeholder: 'shop',
        description: 'The account to which the message belongs',
        ...show(['handOver'], ['binary', 'url']),
    },
    {
        displayName: 'Message ID',
        name: 'messageId',
        type: 'string',
        required: true,
        default: '={{ $json.id }}',
        description: 'The same message ID in a session is one attachment, however often it is handed over',
        ...show(['handOver'], ['binary', 'url']),
    },
    {
        displayName: 'URL',
        name: 'url',
        type: 'string',
        required: true,
        default: '',
        ...show(['handOver'], ['url']),
    },
    {
        displayName: 'Input Binary Field',
        name: 'binaryPropertyName',
        type: 'string',
        required: true,
        default: 'data',
        hint: 'The name of the input binary field that contains the file',
        ...show(['handOver'], ['binary']),
    },
    {
        displayName: 'Wait for the Result',
        name: 'wait',
        type: 'number',
        typeOptions: { minValue: 0, maxValue: 300 },
        default: 0,
        description: 'How many seconds to wait for the stored file. 0: continue as soon as it is recorded.',
        ...show(['handOver'], ['binary', 'url']),
    },
    {
        displayName: 'Additional Fields',
        name: 'additionalFields',
        type: 'collection',
        placeholder: 'Add Field',
        default: {},
        options: [
            { displayName: 'Caption', name: 'caption', type: 'string', default: '' },
            { displayName: 'Chat', name: 'chat', type: 'string', default: '' },
            { displayName: 'File Name', name: 'filename', type: 'string', default: '' },
            {
                displayName: 'Kind',
                name: 'kind',
                type: 'options',
                default: 'image',
                options: KINDS.map((kind) => ({ name: kind === 'ptt' ? 'Voice Note' : title(kind), value: kind })),
            },
            {
                displayName: 'Media Key',
                name: 'media_key',
                type: 'string',
                typeOptions: { password: true },
                default: '',
                description: 'The bytes at the source are WhatsApp ciphertext under this key',
            },
            { displayName: 'MIME Type', name: 'mimetype', type: 'string', default: '' },
            { displayName: 'Sender', name: 'sender', type: 'string', default: '' },
            {
                displayName: 'SHA-256',
                name: 'file_sha256',
                type: 'string',
                default: '',
                description: 'The hash of the file in hex or base64, which is checked',
            },
        ],
        ...show(['handOver'], ['binary', 'url']),
    },
];

function title(word: string): string {
    return word.charAt(0).toUpperCase() + word.slice(1);
}

/** The fields of the node. */
export const properties: INodeProperties[] = [...operations, ...handOver, ...attachment];
