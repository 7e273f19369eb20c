import type { IAuthenticateGeneric, Icon, ICredentialTestRequest, ICredentialType, INodeProperties } from 'n8n-workflow';

/** The address of a web app of Esteira, the API_TOKEN or a user's token, and the secret of its webhooks. */
export class EsteiraApi implements ICredentialType {
    name = 'esteiraApi';

    displayName = 'Esteira API';

    icon: Icon = 'file:../nodes/Esteira/esteira.svg';

    documentationUrl = 'https://www.npmjs.com/package/n8n-nodes-esteira';

    properties: INodeProperties[] = [
        {
            displayName: 'URL',
            name: 'url',
            type: 'string',
            required: true,
            default: 'http://127.0.0.1:8000',
            description: 'The address of the web app. In Docker 127.0.0.1 is the container of n8n: use the name of the service.',
        },
        {
            displayName: 'Token',
            name: 'token',
            type: 'string',
            typeOptions: { password: true },
            required: true,
            default: '',
            description:
                "The API_TOKEN, or a user's token: the role intake hands over, viewer reads, operator replays, and waiting for a result needs admin",
        },
        {
            displayName: 'Webhook Secret',
            name: 'webhookSecret',
            type: 'string',
            typeOptions: { password: true },
            default: '',
            placeholder: 'whsec_…',
            description: 'The WEBHOOK_SECRET of the server, for the trigger. While it is rotated: both, separated by a comma.',
        },
    ];

    authenticate: IAuthenticateGeneric = {
        type: 'generic',
        properties: { headers: { Authorization: '=Bearer {{$credentials.token}}' } },
    };

    test: ICredentialTestRequest = {
        request: { baseURL: '={{$credentials.url.replace(/\\/+$/, "")}}', url: '/whoami' },
    };
}
