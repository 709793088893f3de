import { readFileSync } from 'node:fs';
import { createRequire, enableCompileCache } from 'node:module';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Script } from 'node:vm';

/** What program.js is: the body of a CommonJS module, as a function (see .ci/bundle.mjs). */
type ModuleFunction = (
  exports: object,
  require: NodeJS.Require,
  module: { exports: object },
  filename: string,
  dirname: string,
) => void;

/** What the module is that program.js makes of itself. */
interface Program {
  main(words: readonly string[]): Promise<number>;
}

const here = dirname(fileURLToPath(import.meta.url));

const words = process.argv.slice(2);

/**
 * Loads the program with the code that V8 compiled of it when it was built. Node's own compile cache
 * holds what is compiled on loading; this one holds also what a real `prepare` compiled on its way,
 * a seventh of the time that `run` takes. V8 refuses the code of another version, and compiles anew.
 * It lies inside the installation, where only its owner can write: it is executed.
 */
function loadProgram(): Program {
  const filename = `${here}/program.js`;
  // The bundle is ASCII (esbuild sees to that), which is read fastest so.
  const source = readFileSync(filename, 'latin1');
  const script = new Script(source, { filename, ...compiledCode() });
  const module = { exports: {} };
  const body = script.runInThisContext() as ModuleFunction;
  body(module.exports, createRequire(filename), module, filename, here);
  return module.exports as Program;
}

/** What only fetching uses is kept apart: code that is read and not used costs its time, too. */
function compiledCode(): { cachedData?: Buffer } {
  const use = words.includes('fetch') ? 'fetch' : 'prepare';
  try {
    return { cachedData: readFileSync(`${here}/program-${use}.code`) };
  } catch {
    return {};
  }
}

// For the packages that are loaded on demand.
enableCompileCache({ directory: `${here}/compile-cache`, portable: true });

// Everything was written synchronously, so nothing is lost; taking Node down in good order takes ms.
loadProgram().main(words).then(process.exit);
