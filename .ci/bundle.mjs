// Bundles the command line and the unpacking worker into dist/, one file per part that is loaded on
// demand, so that a command reads only what it uses.
import { readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { build } from 'esbuild';

const root = join(import.meta.dirname, '..');
const dist = join(root, 'dist');

/** A part of the build before this one is kept this long for processes that still run it. */
const GRACE_MS = 600_000;

/** CommonJS dependencies ask for Node's own modules with require(), which ES modules lack. */
const banner =
  "import{createRequire as __createRequire}from'node:module';const require=__createRequire(import.meta.url);";

/**
 * `await import('undici')` gives the named exports under Node, which looks for them in a CommonJS
 * package; esbuild gives such a package a default export only. So each CommonJS package that is
 * loaded on demand gets a module around it with the names that Node finds.
 */
const namedExports = {
  name: 'named-exports',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^[@a-z]/ }, async ({ kind, path }) => {
      if (kind !== 'dynamic-import' || !('module.exports' in (await import(path))))
        return undefined;
      return { path, namespace: 'named-exports' };
    });
    onLoad({ filter: /.*/, namespace: 'named-exports' }, async ({ path }) => {
      const names = Object.keys(await import(path)).filter((name) =>
        /^[\p{L}_$][\w$]*$/u.test(name),
      );
      const own = names.filter((name) => name !== 'default').join(', ');
      const contents = `import whole from '${path}'; export default whole; export const { ${own} } = whole;`;
      return { contents, resolveDir: root };
    });
  },
};

const { outputFiles } = await build({
  absWorkingDir: root,
  entryPoints: { gantry: 'src/cli/main.ts', 'unpack-worker': 'src/store/unpack-worker.ts' },
  outdir: dist,
  chunkNames: '[name]-[hash]',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node26',
  minify: true,
  legalComments: 'none',
  banner: { js: banner },
  plugins: [namedExports],
  write: false,
  logLevel: 'silent',
}).catch((error) => {
  console.error(error.message);
  process.exit(1);
});

/** Puts one file in place whole: a process that starts meanwhile reads the old or the new. */
function replace(path, contents) {
  const temporary = `${path}.${process.pid}.new`;
  writeFileSync(temporary, contents);
  renameSync(temporary, path);
}

// Entry points last: they name the others.
const isEntry = (file) => /^(gantry|unpack-worker)\.js$/.test(basename(file.path));
const ordered = [...outputFiles].sort((a, b) => Number(isEntry(a)) - Number(isEntry(b)));
for (const file of ordered) replace(file.path, file.contents);

const current = new Set(outputFiles.map((file) => basename(file.path)));
for (const name of readdirSync(dist)) {
  const stale = /\.js(\.\d+\.new)?$/.test(name) && !current.has(name);
  if (stale && Date.now() - statSync(join(dist, name)).mtimeMs > GRACE_MS) rmSync(join(dist, name));
}
rmSync(join(dist, 'compile-cache'), { recursive: true, force: true });
