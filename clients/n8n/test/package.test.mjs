// The package is what n8n expects of a community node, and the trigger accepts only what Esteira signed.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { credentials, esteira, executeFunctions, nodes, packageJson, parametersOf, require, ROOT, trigger, webhookFunctions } from './support/n8n.mjs';

const { n8n } = packageJson;
const ignoringCase = (one, other) => one.toLowerCase().localeCompare(other.toLowerCase());

test('package declares itself as a community node without dependencies', () => {
    assert.match(packageJson.name, /^n8n-nodes-/);
    assert.ok(packageJson.keywords.includes('n8n-community-node-package'));
    assert.equal(n8n.n8nNodesApiVersion, 1);
    assert.equal(packageJson.dependencies, undefined);
    assert.deepEqual(packageJson.peerDependencies, { 'n8n-workflow': '*' });
});

test('packed archive has every file that n8n loads, and no sources', () => {
    const output = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: ROOT, stdio: ['ignore', 'pipe', 'ignore'] });
    const files = JSON.parse(output)[0].files.map(({ path }) => path);
    for (const path of [...n8n.nodes, ...n8n.credentials, 'dist/nodes/Esteira/esteira.svg', 'README.md', 'LICENSE']) {
        assert.ok(files.includes(path), path);
    }
    assert.deepEqual(files.filter((path) => !/^(dist\/.*\.(js|json|svg)|README\.md|LICENSE|package\.json)$/.test(path)), []);
});

test('nodes and credentials have icons, names and codex files where n8n looks for them', () => {
    for (const [index, node] of nodes.entries()) {
        const file = join(ROOT, n8n.nodes[index]);
        const { name, icon, credentials: needed } = node.description;
        assert.ok(existsSync(join(dirname(file), icon.replace('file:', ''))));
        assert.equal(require(`${file}on`).node, `${packageJson.name}.${name}`);
        for (const { name: credential } of needed) assert.ok(credentials.some((known) => known.name === credential));
    }
    for (const [index, credential] of credentials.entries()) {
        assert.match(credential.name, /^[a-z]\w+Api$/);
        assert.ok(existsSync(join(dirname(join(ROOT, n8n.credentials[index])), credential.icon.replace('file:', ''))));
        const secrets = credential.properties.filter(({ name }) => name !== 'url');
        assert.ok(secrets.every(({ typeOptions }) => typeOptions.password));
    }
});

test('fields follow the rules of n8n', () => {
    for (const { description } of nodes) {
        const names = new Set(description.properties.map(({ name }) => name));
        for (const field of description.properties) {
            for (const condition of Object.keys(field.displayOptions?.show ?? {})) assert.ok(names.has(condition), condition);
            if (!Array.isArray(field.options)) continue;
            const shown = field.options.map((option) => option.name && (option.displayName ?? option.name));
            assert.deepEqual(shown, [...shown].sort(ignoringCase), `options of ${field.name} are in order`);
            if (field.type === 'options') assert.ok(field.options.some(({ value }) => value === field.default), field.name);
        }
    }
});

test('n8n shows the fields of each operation', () => {
    const [node] = nodes;
    const fields = (given) => Object.keys(parametersOf(node, given)).sort();
    assert.deepEqual(fields({}), ['gateway', 'message', 'operation', 'source']);
    const url = { source: 'url' };
    assert.deepEqual(fields(url), ['additionalFields', 'messageId', 'operation', 'session', 'source', 'url', 'wait']);
    assert.deepEqual(fields({ operation: 'getContent' }), ['binaryPropertyOutput', 'mediaId', 'operation']);
    assert.deepEqual(fields({ operation: 'replay', replaySource: 'url' }), ['mediaId', 'operation', 'replaySource', 'replayUrl']);
});

test('item without a message id or a session is not handed over', async () => {
    for (const given of [undefined, null, '', ' ', {}]) {
        const source = { source: 'url', url: 'https://media.example/x' };
        for (const parameters of [{ ...source, session: 'shop' }, { ...source, session: '={{ $json.id }}', messageId: 'n1' }]) {
            const functions = executeFunctions({ parameters, items: [{ json: { id: given } }] });
            await assert.rejects(esteira.execute.call(functions), { name: 'NodeOperationError', message: /is empty/ });
        }
    }
});

const SECRET = `whsec_${Buffer.alloc(32, 1).toString('base64')}`;
// A webhook that a real Esteira has sent, or one that is signed here.
const real = process.env.ESTEIRA_WEBHOOK && JSON.parse(readFileSync(process.env.ESTEIRA_WEBHOOK, 'utf8'));
const webhook = real ? { ...real, body: Buffer.from(real.body, 'base64') } : signed(Buffer.from('{"type": "media.done"}'));

function signed(body, sentAt = Math.floor(Date.now() / 1000)) {
    const key = Buffer.from(SECRET.slice(6), 'base64');
    const signature = createHmac('sha256', key).update(`e1.${sentAt}.`).update(body).digest('base64');
    const headers = { 'webhook-id': 'e1', 'webhook-timestamp': String(sentAt), 'webhook-signature': `v1,${signature}` };
    return { headers, body, secret: SECRET };
}

async function answered(given, parameters) {
    const functions = webhookFunctions({ ...given, parameters });
    const { workflowData } = await trigger.webhook.call(functions);
    return { events: workflowData?.flat().map(({ json }) => json.type), code: functions.response.code };
}

test('trigger starts the workflow with a signed event', async () => {
    assert.deepEqual(await answered(webhook, {}), { events: ['media.done'], code: 200 });
    const rotated = { ...webhook, secret: `${SECRET.replace('whsec_AQ', 'whsec_BQ')}, ${webhook.secret}` };
    assert.deepEqual(await answered(rotated, {}), { events: ['media.done'], code: 200 });
});

test('trigger accepts and drops events that were not chosen', async () => {
    assert.deepEqual(await answered(webhook, { events: ['media.failed'] }), { events: undefined, code: 204 });
});

test('trigger refuses what Esteira did not sign', async () => {
    const { headers, body, secret } = webhook;
    const now = Math.floor(Date.now() / 1000);
    const refused = [
        { headers, body: Buffer.concat([body, Buffer.from(' ')]), secret },
        { headers, body, secret: 'whsec_' },
        { headers, body, secret: `whsec_${Buffer.alloc(32, 2).toString('base64')}` },
        { headers: { ...headers, 'webhook-id': 'e2' }, body, secret },
        { headers: { ...headers, 'webhook-signature': 'v1,AAAA' }, body, secret },
        { headers: {}, body, secret },
        signed(Buffer.from('{}'), now - 400),
        { ...webhook, body: undefined },
    ];
    for (const given of refused) assert.deepEqual(await answered(given, {}), { events: undefined, code: 401 });
});
