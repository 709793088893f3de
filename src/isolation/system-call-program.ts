import { constants } from 'node:os';
import { GantryError } from '../error.ts';
import { libseccomp } from '../system/seccomp.ts';
import type { CallAction, CallCondition, CallPolicy, CallRule } from './system-calls.ts';

/**
 * Calls of Linux 5.10 and later by the numbers that all architectures have in common, for those that the
 * libseccomp at hand does not know yet.
 */
const LATE_CALLS: ReadonlyMap<string, number> = new Map(
  [
    ...['process_madvise', 'epoll_pwait2', 'mount_setattr', 'quotactl_fd'],
    ...['landlock_create_ruleset', 'landlock_add_rule', 'landlock_restrict_self', 'memfd_secret'],
    ...['process_mrelease', 'futex_waitv', 'set_mempolicy_home_node', 'cachestat', 'fchmodat2'],
    ...['map_shadow_stack', 'futex_wake', 'futex_wait', 'futex_requeue', 'statmount', 'listmount'],
    ...['lsm_get_self_attr', 'lsm_set_self_attr', 'lsm_list_modules', 'mseal', 'setxattrat'],
    ...['getxattrat', 'listxattrat', 'removexattrat', 'open_tree_attr', 'file_getattr'],
    ...['file_setattr', 'listns'],
  ].map((name, index) => [name, 440 + index]),
);
const LAST_CALL = 440 + LATE_CALLS.size - 1;

/** Numbers above the last one that are not free: those that x32 alone has, and the private ones of arm. */
const X32_CALLS = { first: 512, end: 548 };
const ARM_CALLS = 0xf_0000;
const X32_BIT = 0x4000_0000;

/** AUDIT_ARCH_… of the machine's own calls, and of its 32-bit kin: linux/audit.h. */
const ARCHITECTURES: Readonly<Record<string, readonly number[]>> = {
  x64: [0xc000_003e, 0x4000_0003],
  arm64: [0xc000_00b7, 0x4000_0028],
};

/** Instructions of classic BPF (linux/bpf_common.h), and where a filter finds its words (struct seccomp_data). */
const BPF = {
  load: 0x20,
  jump: 0x05,
  equal: 0x15,
  greater: 0x25,
  least: 0x35,
  give: 0x06,
};
const NUMBER_AT = 0;
const ARCHITECTURE_AT = 4;

/** An instruction: what, how many to skip if so and if not, with which value. */
type Instruction = readonly [code: number, yes: number, no: number, value: number];

/** Whether any architecture has a call of this name. */
export function isSystemCall(name: string): boolean {
  return LATE_CALLS.has(name) || libseccomp().callNumber(name) !== undefined;
}

/** The number of an errno by its name, aliases too; undefined when there is none. */
export function errnoNumber(name: string): number | undefined {
  const known: Readonly<Record<string, number>> = constants.errno;
  return (Object.hasOwn(known, name) ? known[name] : undefined) ?? libseccomp().errnoNumber(name);
}

/**
 * Compiles a filter for the machine's architecture and its 32-bit kin: the bytes of the `struct sock_filter`s
 * that the kernel takes. Calls that libseccomp does not know come first, by their numbers.
 * @throws GantryError `internal` for what isSystemCall and errnoNumber do not know
 */
export function compileCalls(policy: CallPolicy): Buffer {
  const { callNumber, compile } = libseccomp();
  const rules = policy.rules.filter(({ action }) => action !== policy.otherwise);
  const named = rules.flatMap((rule) =>
    rule.calls.filter((name) => callNumber(name) !== undefined).map((name) => ({ name, rule })),
  );
  const numbers = named.flatMap(({ rule: { action, when } }) => [
    BigInt(actionWord(action)),
    ...conditionWords(when),
  ]);
  const compiled = compile(
    actionWord(policy.otherwise),
    named.map(({ name }) => name),
    BigUint64Array.from(numbers),
  );
  return Buffer.concat([latePart(policy.newer, rules), compiled]);
}

/** SECCOMP_RET_… (linux/seccomp.h); libseccomp's actions are the same. */
function actionWord(action: CallAction): number {
  if (action === 'allow') return 0x7fff_0000;
  if (action === 'kill') return 0x8000_0000;
  const number = errnoNumber(action);
  if (number === undefined) throw new GantryError('internal', `no errno ${action}`);
  return 0x0005_0000 | number;
}

/** As the addon takes them; 6 is no argument. */
function conditionWords(when: CallCondition | undefined): bigint[] {
  if (when === undefined) return [6n, 0n, 0n];
  return [BigInt(when.argument), BigInt(when.mask), BigInt(when.value)];
}

/** What is decided by numbers before libseccomp's part is reached; nothing where there is no need. */
function latePart(newer: CallAction | undefined, rules: readonly CallRule[]): Buffer {
  const { callNumber } = libseccomp();
  const late = rules.flatMap(({ action, calls, when }) =>
    calls.flatMap((name): Instruction[] => {
      if (callNumber(name) !== undefined) return [];
      const number = LATE_CALLS.get(name);
      if (number === undefined || when !== undefined) {
        throw new GantryError('internal', `no rule can be made for system call ${name}`);
      }
      return [
        [BPF.equal, 0, 1, number],
        [BPF.give, 0, 0, actionWord(action)],
      ];
    }),
  );
  const unknown = newer === undefined ? [] : unknownPart(actionWord(newer));
  const body = [...withoutX32(), ...late, ...unknown];
  return body.length === 0 ? Buffer.alloc(0) : encode([...gate(body.length), ...body]);
}

/** Passes over what follows for other architectures, and leaves the call's number. */
function gate(length: number): Instruction[] {
  const [own = 0, kin = 0] = ARCHITECTURES[process.arch] ?? [];
  return [
    [BPF.load, 0, 0, ARCHITECTURE_AT],
    [BPF.equal, 2, 0, own],
    [BPF.equal, 1, 0, kin],
    [BPF.jump, 0, 0, length + 1],
    [BPF.load, 0, 0, NUMBER_AT],
  ];
}

/**
 * The calls of x32, a third way to make them all, as where the kernel has none. Next to no kernel does, and a
 * filter for them as well takes the kernel a third longer to load.
 */
function withoutX32(): Instruction[] {
  if (process.arch !== 'x64') return [];
  return [
    [BPF.least, 0, 1, X32_BIT],
    [BPF.give, 0, 0, actionWord('ENOSYS')],
  ];
}

function unknownPart(word: number): Instruction[] {
  return [
    [BPF.greater, 0, 4, LAST_CALL],
    [BPF.least, 3, 0, ARM_CALLS],
    [BPF.least, 1, 0, X32_CALLS.end],
    [BPF.least, 1, 0, X32_CALLS.first],
    [BPF.give, 0, 0, word],
  ];
}

function encode(instructions: readonly Instruction[]): Buffer {
  const bytes = Buffer.alloc(instructions.length * 8);
  instructions.forEach(([code, yes, no, value], index) => {
    const at = index * 8;
    bytes.writeUInt16LE(code, at);
    bytes.writeUInt8(yes, at + 2);
    bytes.writeUInt8(no, at + 3);
    bytes.writeUInt32LE(value, at + 4);
  });
  return bytes;
}
