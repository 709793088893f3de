import type { TrustRule } from '../image/provenance.ts';

export type { TrustRule } from '../image/provenance.ts';

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

/** The command that takes in a newer copy of a key trusted under a rule: only prefixes have discovery. */
export function retrustCommand(rule: TrustRule): string {
  return rule.scope === 'root'
    ? 'gantry trust --root FILE-OR-URL'
    : `gantry trust --prefix ${rule.prefix}`;
}
