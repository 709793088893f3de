/** What becomes of a call: it is let through, ends the app (SIGSYS), or returns an error (`EPERM`). */
export type CallAction = 'allow' | 'kill' | `E${string}`;

/** What a system call filter does, by the names of the calls. Plain data: filters are compiled from it. */
export interface CallPolicy {
  /** For calls that no rule is about. */
  readonly otherwise: CallAction;
  /** For calls the kernel got after this version of Gantry: in place of `otherwise`. */
  readonly newer?: CallAction;
  readonly rules: readonly CallRule[];
}

export interface CallRule {
  readonly action: CallAction;
  /** A call that the machine has not got does nothing. */
  readonly calls: readonly string[];
  /** The rule is about calls with this argument only. */
  readonly when?: CallCondition;
}

/**
 * Argument number `argument`, counted from 0, has these bits under this mask. Where the kernel takes half of a
 * register only, nothing of the other half may be in the mask (CVE-2019-7303).
 */
export interface CallCondition {
  readonly argument: number;
  readonly mask: number;
  readonly value: number;
}

/** What an app's isolators or `--seccomp` say of system calls. */
export interface CallChoice {
  readonly mode: 'retain' | 'remove';
  /** Names of calls, and of sets of them (`@rkt/default-whitelist`). */
  readonly set: readonly string[];
  /** What refused calls return, by name; without one they end the app. */
  readonly errno?: string;
}

/** What a filter does, in a line for people (`gantry plan`). */
export function describeCalls({ otherwise, newer, rules }: CallPolicy): string {
  const others = rules.filter(({ action }) => action !== otherwise);
  const whole = new Set(others.flatMap(({ calls, when }) => (when === undefined ? calls : [])));
  const parts = new Set(others.flatMap(({ calls, when }) => (when === undefined ? [] : calls)));
  const actions = [...new Set(others.map(({ action }) => action))];
  const said = actions.map((action) => {
    const count = new Set(
      others.filter((rule) => rule.action === action).flatMap(({ calls }) => calls),
    ).size;
    return `${outcome(action)} ${count} ${count === 1 ? 'call' : 'calls'}`;
  });
  const arguments_ = [...parts].filter((name) => !whole.has(name));
  return [
    ...said,
    ...(arguments_.length === 0 ? [] : [`by their arguments ${arguments_.join(', ')}`]),
    ...(newer === undefined ? [] : [`${outcome(newer)} those unknown to this version`]),
    `${outcome(otherwise)} all others`,
  ].join('; ');
}

function outcome(action: CallAction): string {
  if (action === 'allow') return 'allows';
  return action === 'kill' ? 'SIGSYS for' : `${action} for`;
}
