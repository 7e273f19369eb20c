// Compiles the nodes into dist/, and copies what n8n reads next to them: icons and codex files.
import { spawnSync } from 'node:child_process';
import { cpSync, readdirSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(fileURLToPath(import.meta.url));
const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');

rmSync(join(root, 'dist'), { recursive: true, force: true });
const { status } = spawnSync(process.execPath, [tsc, '--project', root], { stdio: 'inherit' });
if (status !== 0) process.exit(status ?? 1);
for (const name of readdirSync(join(root, 'nodes/Esteira'))) {
    if (/\.(svg|json)$/.test(name)) cpSync(join(root, 'nodes/Esteira', name), join(root, 'dist/nodes/Esteira', name));
}
