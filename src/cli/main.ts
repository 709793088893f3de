import { readFileSync } from 'node:fs';
import { enableCompileCache } from 'node:module';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type BundleFile, loadBundle, type Use } from './bundle.ts';

const here = dirname(fileURLToPath(import.meta.url));

const words = process.argv.slice(2);

/** By a word anywhere: what is guessed wrong costs time and nothing else. */
function useOf(words: readonly string[]): Use {
  if (words.includes('fetch')) return 'fetch';
  return words.some((word) => /^(run|prepare|run-prepared)$/.test(word)) ? 'prepare' : 'list';
}

const use = useOf(words);

/**
 * What V8 compiled of a file when it was built. Node's own compile cache holds what is compiled on
 * loading; this one holds also what a real command of that use compiled on its way, a seventh of the
 * time that `run` takes. For each use apart: code that is read and not used costs its time, too.
 * V8 refuses the code of another version, and compiles anew.
 * It lies inside the installation, where only its owner can write: it is executed.
 */
function compiledCode(file: BundleFile): Buffer | undefined {
  try {
    return readFileSync(`${here}/${file}-${use}.code`);
  } catch {
    return undefined;
  }
}

// For the packages that are loaded on demand.
enableCompileCache({ directory: `${here}/compile-cache`, portable: true });

// Everything was written synchronously, so nothing is lost; taking Node down in good order takes ms.
loadBundle(here, use, compiledCode).main(words).then(process.exit);
