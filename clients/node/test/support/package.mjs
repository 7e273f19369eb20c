// The package under test: the installed one if ESTEIRA_CLIENT names it, else that of this folder.
const path = process.env.ESTEIRA_CLIENT ?? new URL('../../dist/esm/index.js', import.meta.url).href;

export const esteira = await import(path);
