import { NodeApiError, NodeConnectionTypes, NodeOperationError } from 'n8n-workflow';
import type { IExecuteFunctions, INodeExecutionData, INodeType, INodeTypeDescription, JsonObject } from 'n8n-workflow';
import { properties } from './description';
import { OPERATIONS } from './operations';

/** Hands media over to Esteira, gets what it has stored, and replays attachments. */
export class Esteira implements INodeType {
    description: INodeTypeDescription = {
        displayName: 'Esteira',
        name: 'esteira',
        icon: 'file:esteira.svg',
        group: ['transform'],
        version: 1,
        subtitle: '={{ $parameter["operation"] }}',
        description: 'Hand chat media over to Esteira, get the stored files, and replay attachments',
        defaults: { name: 'Esteira' },
        inputs: [NodeConnectionTypes.Main],
        outputs: [NodeConnectionTypes.Main],
        usableAsTool: true,
        credentials: [{ name: 'esteiraApi', required: true }],
        properties,
    };

    async execute(this: IExecuteFunctions): Promise<INodeExecutionData[][]> {
        const results: INodeExecutionData[] = [];
        for (const [itemIndex] of this.getInputData().entries()) {
            const pairedItem = { item: itemIndex };
            try {
                const name = this.getNodeParameter('operation', itemIndex) as string;
                const operation = OPERATIONS[name];
                if (!operation) throw new NodeOperationError(this.getNode(), `There is no operation ${name}`, { itemIndex });
                results.push({ ...(await operation.call(this, itemIndex)), pairedItem });
            } catch (error) {
                const failure = nodeError.call(this, error, itemIndex);
                if (!this.continueOnFail()) throw failure;
                const { message, description } = failure;
                const status = failure instanceof NodeApiError ? failure.httpCode : null;
                results.push({ json: { error: message, description: description ?? null, status }, pairedItem });
            }
        }
        return [results];
    }
}

function nodeError(this: IExecuteFunctions, error: unknown, itemIndex: number): NodeApiError | NodeOperationError {
    if (error instanceof NodeApiError || error instanceof NodeOperationError) {
        error.context.itemIndex ??= itemIndex;
        return error;
    }
    // Everything else is an error of the connection.
    return new NodeApiError(this.getNode(), error as JsonObject, { itemIndex });
}
