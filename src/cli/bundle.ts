import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Script } from 'node:vm';

/** What the bundle is loaded for: to prepare or start a pod, to fetch, or for any other command. */
export type Use = 'prepare' | 'fetch' | 'list';

/**
 * The files of the bundle (.ci/bundle.mjs): all of Gantry; what preparing and starting a pod from stored images
 * takes of it; and what that comes to need besides, where the images are not stored, say.
 */
export type BundleFile = 'program' | 'start' | 'start-rest';

/** The functions that load modules, by the modules' paths. */
type Modules = Readonly<Record<string, () => unknown>>;

/** What the module is that program.js and start.js make of themselves. */
interface Program {
  main(words: readonly string[]): Promise<number>;
  /** Those of its modules that the rest imports, in start.js. */
  readonly own?: Modules;
}

/** What a file of the bundle is: the body of a CommonJS module, as a function of one thing more. */
type ModuleFunction<Other> = (
  exports: object,
  require: NodeJS.Require,
  module: { exports: object },
  filename: string,
  dirname: string,
  other: Other,
) => void;

/** The bundle, and what V8 has compiled of it. */
export interface Bundle {
  readonly main: Program['main'];
  /** Those of the files that are loaded. */
  readonly scripts: ReadonlyMap<BundleFile, Script>;
  /** Loads start-rest.js after start.js, which otherwise the first of its modules does that is imported. */
  loadRest(): void;
}

/**
 * Loads the program, with the code V8 compiled of it when it was built.
 * @param directory where the files are
 * @param use what is loaded for another use than the words ask for does the same, later
 * @param codeOf what was compiled of a file, undefined where it is to be compiled anew
 */
export function loadBundle(
  directory: string,
  use: Use,
  codeOf: (file: BundleFile) => Buffer | undefined,
): Bundle {
  const scripts = new Map<BundleFile, Script>();
  const load = <Exports, Other>(file: BundleFile, other: Other): Exports => {
    const filename = `${directory}/${file}.js`;
    const cachedData = codeOf(file);
    // The bundle is ASCII (esbuild sees to that), which is read fastest so.
    const source = readFileSync(filename, 'latin1');
    const script = new Script(source, { filename, ...(cachedData && { cachedData }) });
    scripts.set(file, script);
    const module = { exports: {} };
    const body = script.runInThisContext() as ModuleFunction<Other>;
    body(module.exports, createRequire(filename), module, filename, directory, other);
    return module.exports as Exports;
  };
  let rest: Modules | undefined;
  const loadRest = (): Modules => {
    rest ??= load<{ modules: Modules }, unknown>('start-rest', program.own).modules;
    return rest;
  };
  const file = use === 'prepare' ? 'start' : 'program';
  const program = load<Program, () => Modules>(file, loadRest);
  return { main: program.main, scripts, loadRest };
}
