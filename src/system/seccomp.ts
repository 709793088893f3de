import { fileURLToPath } from 'node:url';

/** `src/system/seccomp.c`, function by function. */
interface Seccomp {
  callNumber(name: string): number | undefined;
  errnoNumber(name: string): number | undefined;
  compile(otherwise: number, names: readonly string[], numbers: BigUint64Array): Buffer;
}

/** The addon's file: filters are only as good as what compiled them, so that it is part of what they are known by. */
export function seccompFile(): string {
  // As the binding's (binding.ts).
  const fromSource = import.meta.url.endsWith('.ts');
  return fileURLToPath(
    new URL(fromSource ? '../../dist/seccomp.node' : './seccomp.node', import.meta.url),
  );
}

let loaded: Seccomp | undefined;

/** libseccomp; loaded when it is first asked for, which most starts never do. */
export function libseccomp(): Seccomp {
  if (loaded !== undefined) return loaded;
  const module = { exports: {} };
  process.dlopen(module, seccompFile());
  loaded = module.exports as Seccomp;
  return loaded;
}
