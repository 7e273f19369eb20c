// Loads the built nodes as the class loader of n8n does, and gives them the functions that they call.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join, parse } from 'node:path';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { createContext, Script } from 'node:vm';

export const ROOT = join(dirname(fileURLToPath(import.meta.url)), '../..');
export const require = createRequire(import.meta.url);
export const packageJson = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
export const { NodeHelpers, NodeApiError, NodeOperationError } = require('n8n-workflow');

const context = createContext({ require });

/** A new object of the class in a file: the class has the name of the file up to the first dot. */
export function load(file) {
    const path = join(ROOT, file);
    return new Script(`new (require(${JSON.stringify(path)}).${parse(path).name.split('.')[0]})()`).runInContext(context);
}

export const nodes = packageJson.n8n.nodes.map(load);
export const credentials = packageJson.n8n.credentials.map(load);
export const [esteira, trigger] = nodes;

/** The parameters of a node with the defaults that n8n adds, for the fields that it shows. */
export function parametersOf(node, given) {
    const { description } = node;
    const stored = { id: 'n', name: 'Node', type: description.name, typeVersion: 1, position: [0, 0], parameters: given };
    return NodeHelpers.getNodeParameters(description.properties, given, true, false, stored, description);
}

/** The value of a parameter for an item; of expressions only `{{ $json.name }}` is known here. */
function evaluated(value, item) {
    const field = typeof value === 'string' && /^=\{\{ \$json\.(\w+) \}\}$/.exec(value)?.[1];
    return field ? item.json[field] : value;
}

/** IExecuteFunctions, as far as the node needs them; requests are really sent. */
export function executeFunctions({ parameters, items = [{ json: {} }], credential, continueOnFail = false }) {
    const resolved = parametersOf(esteira, parameters);
    const functions = {
        getInputData: () => items,
        getNode: () => ({ name: 'Esteira', type: 'esteira', typeVersion: 1, parameters }),
        getNodeParameter(name, itemIndex, fallback) {
            const value = name in resolved ? resolved[name] : fallback;
            if (value === undefined) throw new Error(`Could not get parameter ${name}`);
            return evaluated(value, items[itemIndex]);
        },
        getCredentials: async () => credential,
        continueOnFail: () => continueOnFail,
        helpers: {
            httpRequestWithAuthentication: (type, options) => request(authenticated(type, credential, options)),
            assertBinaryData: (itemIndex, property) => items[itemIndex].binary[property],
            getBinaryDataBuffer: async (itemIndex, property) => Buffer.from(items[itemIndex].binary[property].data, 'base64'),
            binaryToBuffer: bytesOf,
            async prepareBinaryData(body, fileName, mimeType) {
                return { data: (await bytesOf(body)).toString('base64'), fileName, mimeType };
            },
        },
    };
    functions.helpers.httpRequestWithAuthentication.call = (_this, ...given) => functions.helpers.httpRequestWithAuthentication(...given);
    return functions;
}

/** IWebhookFunctions, as far as the trigger needs them. `response` keeps what the trigger answers. */
export function webhookFunctions({ parameters = {}, headers, body, secret }) {
    const resolved = parametersOf(trigger, parameters);
    const response = { code: 200, status: (code) => ((response.code = code), response), json: () => response, end: () => response };
    return {
        response,
        getRequestObject: () => ({ rawBody: body }),
        getResponseObject: () => response,
        getHeaderData: () => headers,
        getNodeParameter: (name) => resolved[name],
        getCredentials: async () => ({ webhookSecret: secret }),
    };
}

function authenticated(type, credential, options) {
    const { authenticate } = credentials.find(({ name }) => name === type);
    const headers = Object.entries(authenticate.properties.headers).map(([name, value]) => [
        name,
        value.replace(/^=/, '').replace(/\{\{\$credentials\.(\w+)\}\}/g, (_match, field) => credential[field]),
    ]);
    return { ...options, headers: { ...options.headers, ...Object.fromEntries(headers) } };
}

/** n8n's httpRequest with `returnFullResponse` and `ignoreHttpStatusErrors`. */
async function request({ method, url, qs = {}, headers, body, encoding, timeout }) {
    const address = new URL(url);
    for (const [name, value] of Object.entries(qs)) address.searchParams.set(name, value);
    const isJson = body !== undefined && !Buffer.isBuffer(body);
    const answer = await fetch(address, {
        method,
        headers: isJson ? { 'Content-Type': 'application/json', ...headers } : headers,
        body: isJson ? JSON.stringify(body) : body,
        redirect: 'manual',
        signal: AbortSignal.timeout(timeout),
    });
    const common = { statusCode: answer.status, headers: Object.fromEntries(answer.headers) };
    if (encoding === 'stream') return { ...common, body: Readable.fromWeb(answer.body) };
    const text = await answer.text();
    return { ...common, body: answer.headers.get('content-type')?.includes('json') ? JSON.parse(text) : text };
}

async function bytesOf(body) {
    if (Buffer.isBuffer(body)) return body;
    const chunks = [];
    for await (const chunk of body) chunks.push(chunk);
    return Buffer.concat(chunks);
}
