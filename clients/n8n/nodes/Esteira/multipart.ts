import { randomBytes } from 'node:crypto';
import type { IDataObject } from 'n8n-workflow';

/** A file in a form. */
export interface FormFile {
    data: Buffer;
    name: string;
    mimetype: string;
}

/**
 * A form (multipart/form-data) with text fields and one file, as a body of bytes with its Content-Type.
 *
 * Built by hand, because versions of n8n differ in the FormData that they accept.
 */
export function formWithFile(fields: IDataObject, file: FormFile): { body: Buffer; headers: IDataObject } {
    const boundary = `esteira-${randomBytes(16).toString('hex')}`;
    const parts: Buffer[] = [];
    for (const [name, value] of Object.entries(fields)) {
        if (value === undefined || value === null || value === '') continue;
        const text = typeof value === 'string' ? value : JSON.stringify(value);
        parts.push(Buffer.from(`--${boundary}\r\nContent-Disposition: form-data; name="${quoted(name)}"\r\n\r\n${text}\r\n`));
    }
    parts.push(
        Buffer.from(
            `--${boundary}\r\nContent-Disposition: form-data; name="file"; filename="${quoted(file.name)}"\r\n` +
                `Content-Type: ${file.mimetype.replace(/[\r\n]/g, '')}\r\n\r\n`,
        ),
        file.data,
        Buffer.from(`\r\n--${boundary}--\r\n`),
    );
    return { body: Buffer.concat(parts), headers: { 'Content-Type': `multipart/form-data; boundary=${boundary}` } };
}

function quoted(text: string): string {
    return text.replace(/["\r\n]/g, (sign) => encodeURIComponent(sign));
}
