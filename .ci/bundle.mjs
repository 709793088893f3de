// Bundles Gantry into dist/. What counts is how long a command takes to start, so Gantry's own code
// becomes one file (each further file costs a look-up, a read and a compile-cache entry) whose parts
// run only when they are first imported. What starts a pod is also a file of its own, with the rest beside
// it: code that V8 reads back costs its time, run or not. Each dependency but commander is a file that is
// read only when it is needed. The files are CommonJS: Node starts the ES module loader in 5 ms, this one in none.
import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { basename, join, relative } from 'node:path';
import { build } from 'esbuild';

const root = join(import.meta.dirname, '..');
const dist = join(root, 'dist');

/** Loaded by every command, so it is part of the program. */
const INLINE = new Set(['commander']);

const common = {
  absWorkingDir: root,
  outdir: dist,
  bundle: true,
  format: 'cjs',
  platform: 'node',
  target: 'node26',
  minify: true,
  keepNames: false,
  legalComments: 'none',
  write: false,
  logLevel: 'silent',
};

/**
 * What of a package is used, where its own entry would load much more: of undici's, which brings fetch,
 * WebSocket, caches and mocks along, and takes twice the time for them. Each part is the last of some expressions.
 */
const PARTS = {
  undici: {
    Agent: [`require('undici/lib/dispatcher/agent.js')`],
    // It opens tunnels by a method that only undici's own entry gives to dispatchers.
    ProxyAgent: [
      `require('undici/lib/dispatcher/dispatcher.js').prototype.connect = require('undici/lib/api/api-connect.js')`,
      `require('undici/lib/dispatcher/proxy-agent.js')`,
    ],
  },
};

/** Packages that the program loads on demand, each from a file of its own. */
const packages = new Set();

const fileOf = (name) => `./package-${name.replace(/^@|\.js$/g, '').replaceAll('/', '-')}.js`;

const onDemand = {
  name: 'on-demand',
  setup({ onResolve, onLoad }) {
    // commander needs it for subcommands that are programs of their own; nobody else waits for it.
    onResolve({ filter: /^node:child_process$/ }, ({ importer }) =>
      importer.includes('/commander/') ? { path: 'unused', namespace: 'empty' } : undefined,
    );
    onLoad({ filter: /.*/, namespace: 'empty' }, () => ({ contents: 'export default {}' }));
    onResolve({ filter: /^[@a-z]/ }, ({ path, importer }) => {
      const own = !importer.includes('/node_modules/');
      if (!own || isBuiltin(path) || INLINE.has(path)) return undefined;
      packages.add(path);
      return { path, namespace: 'on-demand' };
    });
    onResolve({ filter: /^\.\/package-/, namespace: 'on-demand' }, ({ path }) => ({
      path,
      external: true,
    }));
    onLoad({ filter: /.*/, namespace: 'on-demand' }, ({ path }) => ({
      contents: `module.exports = require('${fileOf(path)}')`,
    }));
  },
};

/** Gantry's own code. */
const own = {
  ...common,
  banner: { js: "const __url=require('node:url').pathToFileURL(__filename).href;" },
  define: { 'import.meta.url': '__url' },
  supported: { 'dynamic-import': false },
};

/** What pods from stored images are prepared and started by; without what these import on demand, unless it is here. */
const PATH_TO_START = [
  'cli/parser',
  'cli/prepare',
  'cli/program',
  'cli/run',
  'cli/run-prepared',
  'cli/volume-options',
  'isolation/named-system-calls',
  'isolation/process-host',
  'pod/host-volumes',
  'pod/limits',
  'pod/own-users',
  'pod/rootless',
  'stage1/nspawn',
  'stage1/provision',
].map((name) => `src/${name}.ts`);

/** Which modules are on the path to a started pod, which of them the others import, and where these begin. */
async function divide() {
  const { metafile } = await build({
    ...own,
    entryPoints: ['src/cli/program.ts'],
    metafile: true,
    plugins: [onDemand],
  });
  const path = new Set();
  const follow = (file) => {
    if (path.has(file)) return;
    path.add(file);
    for (const to of metafile.inputs[file].imports) {
      if (!to.external && to.kind !== 'dynamic-import' && isFile(to.path)) follow(to.path);
    }
  };
  for (const file of PATH_TO_START) follow(file);
  const shared = new Set();
  const begins = new Set();
  for (const [file, { imports }] of Object.entries(metafile.inputs)) {
    for (const to of imports) {
      if (to.external || !isFile(to.path) || path.has(file) === path.has(to.path)) continue;
      (path.has(file) ? begins : shared).add(to.path);
    }
  }
  return { path, shared, begins };
}

/** Esbuild's names of modules that plugins make have a colon. */
function isFile(name) {
  return !name.includes(':');
}

/** Leaves out of a file of the bundle the modules that are in the other one, which `load` gets from there. */
function without(isOther, load) {
  return {
    name: 'other-file',
    setup({ onResolve, onLoad, resolve }) {
      onResolve({ filter: /.*/ }, async ({ path, pluginData, kind, importer, resolveDir }) => {
        if (pluginData === 'resolved' || importer === '' || importer === '<stdin>')
          return undefined;
        const found = await resolve(path, { kind, importer, resolveDir, pluginData: 'resolved' });
        const name = relative(root, found.path);
        if (found.namespace !== 'file' || found.external || !isOther(name)) return undefined;
        return { path: name, namespace: 'other-file' };
      });
      onLoad({ filter: /.*/, namespace: 'other-file' }, ({ path }) => ({
        contents: `module.exports = ${load}[${JSON.stringify(path)}]()`,
      }));
    },
  };
}

function loaders(files) {
  return [...files]
    .map((file) => `${JSON.stringify(file)}: () => require('./${file}'),`)
    .join('\n');
}

/** What starts Gantry, its own code whole and in two files, and the thread that unpacks. */
async function buildProgram() {
  const { path, shared, begins } = await divide();
  const builds = [
    {
      entryPoints: {
        gantry: 'src/cli/main.ts',
        program: 'src/cli/program.ts',
        'unpack-worker': 'src/store/unpack-worker.ts',
      },
      plugins: [onDemand],
    },
    {
      ...fileOfBundle(
        'start.js',
        `export { main } from './src/cli/program.ts'; export const own = { ${loaders(shared)} };`,
      ),
      plugins: [without((name) => begins.has(name), '__other()'), onDemand],
    },
    {
      ...fileOfBundle('start-rest.js', `export const modules = { ${loaders(begins)} };`),
      plugins: [without((name) => path.has(name), '__other'), onDemand],
    },
  ];
  const results = await Promise.all(builds.map((options) => build({ ...own, ...options })));
  return results.flatMap(({ outputFiles }) => outputFiles);
}

function fileOfBundle(name, contents) {
  return { stdin: { contents, resolveDir: root }, outdir: undefined, outfile: join(dist, name) };
}

/** A dependency, whole, with the names Node would give it. */
function buildPackage(name) {
  return build({
    ...common,
    stdin: { contents: entryOf(name), resolveDir: root },
    outdir: undefined,
    outfile: join(dist, fileOf(name)),
  });
}

/** A module that is the package, or the parts of it that are used, each loaded when first asked for. */
function entryOf(name) {
  const parts = Object.entries(PARTS[name] ?? {});
  if (parts.length === 0) return `module.exports = require('${name}')`;
  const getters = parts.map(([part, code]) => `get ${part}() { return ${code.join(', ')} }`);
  return `module.exports = { ${getters.join(', ')} }`;
}

/** Puts one file in place whole: a process that starts meanwhile reads the old or the new. */
function replace(path, contents) {
  const temporary = `${path}.${process.pid}.new`;
  writeFileSync(temporary, contents);
  renameSync(temporary, path);
}

/** bundle.ts compiles the program itself, with code compiled before, so it has to be a function. */
function contentsOf({ path, text, contents }) {
  if (!/^(program|start|start-rest)\.js$/.test(basename(path))) return contents;
  return `(function(exports,require,module,__filename,__dirname,__other){${text}\n})`;
}

async function bundle() {
  mkdirSync(dist, { recursive: true });
  const program = await buildProgram();
  const dependencies = await Promise.all([...packages].map(buildPackage));
  const files = [...program, ...dependencies.flatMap(({ outputFiles }) => outputFiles)];
  // The code compiled from another program must not be taken for this one's.
  for (const name of readdirSync(dist)) if (name.endsWith('.code')) rmSync(join(dist, name));
  // The program last: it names the others.
  for (const file of files.reverse()) replace(file.path, contentsOf(file));
  replace(join(dist, 'package.json'), '{"type":"commonjs"}\n');
  const current = new Set(files.map((file) => basename(file.path)));
  for (const name of readdirSync(dist)) {
    if (/\.js(\.\d+\.new)?$/.test(name) && !current.has(name)) rmSync(join(dist, name));
  }
  rmSync(join(dist, 'compile-cache'), { recursive: true, force: true });
}

await bundle().catch((error) => {
  console.error(error.message);
  process.exit(1);
});
