import { NodeConnectionTypes } from 'n8n-workflow';
import type { IDataObject, INodeType, INodeTypeDescription, IWebhookFunctions, IWebhookResponseData } from 'n8n-workflow';
import { faultOf, type WebhookHeaders } from './signature';

const EVENTS = [
    { name: 'Done', value: 'media.done', description: 'The file is stored' },
    { name: 'Expired', value: 'media.expired', description: 'Its source is gone: ask for a new upload and replay' },
    { name: 'Failed', value: 'media.failed', description: 'It could not be processed' },
    { name: 'Rejected', value: 'media.rejected', description: 'The file was refused' },
];

/** Starts a workflow for each result of an attachment, which Esteira sends as a signed webhook. */
export class EsteiraTrigger implements INodeType {
    description: INodeTypeDescription = {
        displayName: 'Esteira Trigger',
        name: 'esteiraTrigger',
        icon: 'file:esteira.svg',
        group: ['trigger'],
        version: 1,
        subtitle: '={{ $parameter["events"].join(", ") }}',
        description: 'Starts the workflow when Esteira has stored a file, or could not',
        defaults: { name: 'Esteira Trigger' },
        inputs: [],
        outputs: [NodeConnectionTypes.Main],
        credentials: [{ name: 'esteiraApi', required: true }],
        webhooks: [{ name: 'default', httpMethod: 'POST', responseMode: 'onReceived', path: 'esteira' }],
        properties: [
            {
                displayName:
                    'Set WEBHOOK_URL of Esteira to the Production URL above (for a test run: the Test URL), and WEBHOOK_SECRET to the Webhook Secret of the credentials. Several endpoints: WEBHOOK_ENDPOINTS.',
                name: 'notice',
                type: 'notice',
                default: '',
            },
            {
                displayName: 'Events',
                name: 'events',
                type: 'multiOptions',
                required: true,
                default: ['media.done'],
                options: EVENTS,
                description: 'The results that start the workflow; others are accepted and dropped',
            },
        ],
    };

    async webhook(this: IWebhookFunctions): Promise<IWebhookResponseData> {
        const request = this.getRequestObject() as { rawBody?: Buffer; readRawBody?: () => Promise<void> };
        const response = this.getResponseObject();
        if (!request.rawBody) await request.readRawBody?.();
        const { webhookSecret } = await this.getCredentials<{ webhookSecret?: string }>('esteiraApi');
        const body = request.rawBody ?? Buffer.alloc(0);
        const fault = faultOf(this.getHeaderData() as WebhookHeaders, body, webhookSecret ?? '');
        if (fault) {
            response.status(401).json({ error: { code: 'bad_signature', message: fault } });
            return { noWebhookResponse: true };
        }
        const event = eventIn(body);
        if (!(this.getNodeParameter('events') as string[]).includes(String(event.type))) {
            response.status(204).end();
            return { noWebhookResponse: true };
        }
        return { workflowData: [[{ json: event }]] };
    }
}

function eventIn(body: Buffer): IDataObject {
    try {
        const event = JSON.parse(body.toString()) as unknown;
        return event !== null && typeof event === 'object' ? (event as IDataObject) : {};
    } catch {
        return {};
    }
}
