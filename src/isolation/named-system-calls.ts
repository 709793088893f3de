import { GantryError } from '../error.ts';
import { quote } from '../image/quotation.ts';
import { defaultCalls } from './default-system-calls.ts';
import { words } from './ordinary-system-calls.ts';
import { errnoNumber, isSystemCall } from './system-call-program.ts';
import { callsOfSet, SET_NAMES } from './system-call-sets.ts';
import type { CallAction, CallChoice, CallPolicy, CallRule } from './system-calls.ts';

/** As a retain set: no filter. */
const ALL = '@appc.io/all';
/** As a remove set: the default. */
const EMPTY = '@appc.io/empty';
/** What an app may call when nothing is said. */
const OWN = '@gantry/default-whitelist';

/**
 * Retained with every set, as systemd does for rkt: what a program and its C library start and end by, come back from
 * a signal with, and know the time from (appc spec/ace.md, seccomp-retain-set, note 3).
 */
const LIFE = '@systemd/default';

/**
 * The default whitelists of others are from before libraries tried these, and calls that are newer still, and did
 * without where there were none: an app is not ended for that.
 */
const TRIED = words('io_uring_enter io_uring_register io_uring_setup');
const OTHERS: readonly string[] = ['@docker/default-whitelist', '@rkt/default-whitelist'];

/**
 * The policy that an isolator asks for (appc spec/ace.md, os/linux/seccomp-…-set); undefined where it asks for no
 * filter at all.
 * @param capabilities those the app keeps, on which the default set depends
 * @param where names the app, and who asked, for messages
 * @throws GantryError `unsupported` for an unknown call, set or errno
 */
export function namedCalls(
  choice: CallChoice,
  capabilities: readonly string[],
  where: string,
): CallPolicy | undefined {
  const refusal = errnoAction(choice.errno, where);
  if (choice.mode === 'retain') {
    return choice.set.includes(ALL)
      ? undefined
      : retained(choice.set, refusal, capabilities, where);
  }
  if (choice.set.includes(EMPTY)) {
    const policy = defaultCalls(capabilities);
    return refusal === undefined ? policy : { ...policy, otherwise: refusal };
  }
  if (choice.set.includes(ALL)) {
    throw unsupported(where, `nothing can run without any system call: name those to remove`);
  }
  const calls = choice.set.flatMap((item) => callsOf(item, capabilities, where));
  return { otherwise: 'allow', rules: [{ action: refusal ?? 'kill', calls: [...new Set(calls)] }] };
}

function retained(
  set: readonly string[],
  refusal: CallAction | undefined,
  capabilities: readonly string[],
  where: string,
): CallPolicy {
  const others = set.filter((item) => item !== OWN && item !== EMPTY);
  const calls = new Set([LIFE, ...others].flatMap((item) => callsOf(item, capabilities, where)));
  const tried = refusal === undefined && OTHERS.some((name) => set.includes(name));
  const own = set.includes(OWN) ? defaultCalls(capabilities) : { newer: undefined, rules: [] };
  const newer = tried ? 'ENOSYS' : own.newer;
  const rules: readonly CallRule[] = [
    ...own.rules,
    ...(tried ? [{ action: 'ENOSYS', calls: TRIED } as const] : []),
  ];
  return {
    otherwise: refusal ?? 'kill',
    ...(newer === undefined ? {} : { newer }),
    rules: [
      { action: 'allow', calls: [...calls] },
      ...rules.flatMap((rule) => without(rule, calls)),
    ],
  };
}

/** What is named by itself is allowed whole. */
function without(rule: CallRule, named: ReadonlySet<string>): CallRule[] {
  const calls = rule.calls.filter((name) => !named.has(name));
  return calls.length === 0 ? [] : [{ ...rule, calls }];
}

function callsOf(item: string, capabilities: readonly string[], where: string): readonly string[] {
  if (item === OWN) return defaultCalls(capabilities).rules.flatMap(({ calls }) => calls);
  if (!item.startsWith('@')) {
    if (isSystemCall(item)) return [item];
    throw unsupported(where, `unknown system call ${quote(item)} (syscalls(2) lists the names)`);
  }
  const calls = callsOfSet(item);
  if (calls !== undefined) return calls;
  const known = [ALL, EMPTY, OWN, ...SET_NAMES].join(' ');
  throw unsupported(where, `unknown set of system calls ${quote(item)}: there are ${known}`);
}

/** Undefined without one: then the app is ended. */
function errnoAction(errno: string | undefined, where: string): CallAction | undefined {
  if (errno === undefined || errno === '') return undefined;
  if (errnoNumber(errno) !== undefined) return errno as CallAction;
  throw unsupported(where, `unknown errno ${quote(errno)} (errno(3) lists the names)`);
}

function unsupported(where: string, what: string): GantryError {
  return new GantryError('unsupported', `${where}: ${what}`);
}
