import type { Provenance } from '../image/provenance.ts';

/**
 * Which names a key is believed for: every name (`root`), or those whose leading whole path
 * components are `prefix`.
 */
export type TrustRule = Extract<Provenance, { kind: 'openpgp' }>['rule'];

/**
 * The prefixes that cover an image name, shortest first: `example.com/team/app` is covered by
 * `example.com`, `example.com/team` and itself. Never by part of a component: a key for
 * `example.com/foo` says nothing about `example.com/foobar`.
 */
export function prefixesOf(name: string): string[] {
  const components = name.split('/');
  return components.map((_, index) => components.slice(0, index + 1).join('/'));
}

/** Whether everything `inner` covers is covered by `outer` too. */
export function covers(outer: TrustRule, inner: TrustRule): boolean {
  if (outer.scope === 'root') return true;
  return inner.scope === 'prefix' && prefixesOf(inner.prefix).includes(outer.prefix);
}

/** The words of a `gantry trust` command line that mean this rule. */
export function ruleFlags(rule: TrustRule): string {
  return rule.scope === 'root' ? '--root' : `--prefix ${rule.prefix}`;
}
