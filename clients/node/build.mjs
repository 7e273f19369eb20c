// Builds dist/esm and dist/cjs. The package file in each says how Node reads its modules.
import { spawnSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

process.chdir(dirname(fileURLToPath(import.meta.url)));
rmSync('dist', { recursive: true, force: true });
const compiler = 'node_modules/typescript/bin/tsc';
for (const [config, folder, type] of [
    ['tsconfig.json', 'dist/esm', 'module'],
    ['tsconfig.cjs.json', 'dist/cjs', 'commonjs'],
]) {
    const { status } = spawnSync(process.execPath, [compiler, '-p', config], { stdio: 'inherit' });
    if (status !== 0) process.exit(status ?? 1);
    writeFileSync(`${folder}/package.json`, `${JSON.stringify({ type, sideEffects: false })}\n`);
}
