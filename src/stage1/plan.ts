import { GantryError } from '../error.ts';
import type {
  AppStep,
  OutsideStep,
  SetupStep,
  Step,
  SupervisorStep,
  TeardownStep,
} from '../isolation/step.ts';

/** A launch plan (specs/launch-plan.md): everything that is done to start a pod, in order. */
export interface Plan {
  readonly supervisor: readonly SupervisorStep[];
  /**
   * Done outside of the pod by what then becomes the program it lives in, or for a pod with users of its own; none for
   * most pods.
   */
  readonly outside?: readonly OutsideStep[];
  readonly pod: readonly SetupStep[];
  readonly apps: readonly AppSection[];
  readonly teardown: readonly TeardownStep[];
}

export interface AppSection {
  readonly name: string;
  readonly steps: AppSteps;
  /** Of its event handlers. */
  readonly preStart?: AppSteps;
  readonly postStop?: AppSteps;
}

export type AppSteps = readonly (SetupStep | AppStep)[];

/** The plan of an app that comes to a running pod: what is done for it outside, then its own section. */
export interface AppPlan {
  readonly outside: readonly OutsideStep[];
  readonly app: AppSection;
}

/** A line of the plan as the file holds it: a step, or the start of a section. */
type Line = Step | readonly ['section', ...string[]];

const MAGIC = 'gantry-plan\x001\0';
/** The launcher reads no more (specs/launch-plan.md, Form). */
const MAX_BYTES = 4 * 1024 * 1024;
export const MAX_APPS = 64;

/**
 * The bytes of the file `plan`.
 * @throws GantryError `launch` where a word holds a NUL, or the launcher would refuse the size or
 *   the number of apps
 */
export function encodePlan(plan: Plan): Buffer {
  if (plan.apps.length > MAX_APPS) {
    throw new GantryError('launch', `a pod has at most ${MAX_APPS} apps, not ${plan.apps.length}`);
  }
  return encodeLines(lines(plan));
}

/**
 * The bytes of the file `apps/NAME/plan` in a mutable pod.
 * @throws GantryError `launch` as `encodePlan`
 */
export function encodeAppPlan(plan: AppPlan): Buffer {
  return encodeLines([['section', 'outside'], ...plan.outside, ...appLines(plan.app)]);
}

function encodeLines(steps: Iterable<Line>): Buffer {
  let text = MAGIC;
  for (const [word, ...words] of steps) {
    text += `${word}\0${words.length}\0`;
    for (const argument of words) {
      if (argument.includes('\0')) {
        throw new GantryError('launch', `launch plan: ${word}: an argument holds a NUL byte`);
      }
      text += `${argument}\0`;
    }
  }
  const bytes = Buffer.from(text, 'utf8');
  if (bytes.length > MAX_BYTES) {
    throw new GantryError(
      'launch',
      `launch plan: ${bytes.length} bytes are more than the launcher reads: use fewer apps, arguments or environment variables`,
    );
  }
  return bytes;
}

/**
 * The plan for people: one step a line, each word quoted as a shell would need it. System call filters are said in
 * words.
 * @param bytes the file `plan`
 * @param filters what the filter of each app does, by the app's name
 * @throws GantryError `launch` when the file is not a plan
 */
export function formatPlan(
  bytes: Uint8Array,
  filters: ReadonlyMap<string, string> = new Map(),
): string {
  let section = '';
  return decodeLines(bytes)
    .map((step) => {
      const [word, ...words] = step;
      if (word === 'section') section = words[1] ?? '';
      else if (word === 'seccomp') return `  seccomp  # ${filters.get(section) ?? size(words)}\n`;
      const indent = word === 'section' ? '' : '  ';
      return `${indent}${step.map(quote).join(' ')}\n`;
    })
    .join('');
}

/**
 * The system call filters of a plan's apps, by the app's name, as the plan has them.
 * @throws GantryError `launch` when the file is not a plan
 */
export function filtersOf(bytes: Uint8Array): Map<string, string> {
  const filters = new Map<string, string>();
  let section = '';
  for (const [word, ...words] of decodeLines(bytes)) {
    if (word === 'section') section = words[1] ?? '';
    else if (word === 'seccomp') filters.set(section, words[0] ?? '');
  }
  return filters;
}

function size([program = '']: readonly string[]): string {
  return `${Buffer.from(program, 'base64').length / 8} instructions`;
}

function* lines(plan: Plan): Generator<Line> {
  yield ['section', 'supervisor'];
  yield* plan.supervisor;
  if (plan.outside !== undefined) {
    yield ['section', 'outside'];
    yield* plan.outside;
  }
  yield ['section', 'pod'];
  yield* plan.pod;
  for (const app of plan.apps) yield* appLines(app);
  if (plan.teardown.length === 0) return;
  yield ['section', 'teardown'];
  yield* plan.teardown;
}

function* appLines({ name, steps, preStart, postStop }: AppSection): Generator<Line> {
  if (preStart !== undefined) {
    yield ['section', 'pre-start', name];
    yield* preStart;
  }
  yield ['section', 'app', name];
  yield* steps;
  if (postStop !== undefined) {
    yield ['section', 'post-stop', name];
    yield* postStop;
  }
}

function decodeLines(bytes: Uint8Array): string[][] {
  const text = Buffer.from(bytes).toString('utf8');
  if (!text.startsWith(MAGIC) || !text.endsWith('\0')) throw damaged();
  const words = text.slice(MAGIC.length, -1).split('\0');
  const steps: string[][] = [];
  for (let at = 0; at < words.length; ) {
    const word = words[at];
    const count = Number(words[at + 1]);
    const end = at + 2 + count;
    if (word === undefined || !Number.isInteger(count) || count < 0 || end > words.length) {
      throw damaged();
    }
    steps.push([word, ...words.slice(at + 2, end)]);
    at = end;
  }
  return steps;
}

function damaged(): GantryError {
  return new GantryError(
    'launch',
    'the launch plan is damaged: remove the pod and prepare it anew',
  );
}

/**
 * One word as sh(1) reads it; one with characters that could garble a terminal, as bash,
 * zsh and POSIX 2024 read $'…'.
 */
function quote(word: string): string {
  if (/^[-\w@%+=:,./]+$/.test(word)) return word;
  if (!/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(word)) return `'${word.replaceAll("'", "'\\''")}'`;
  const escaped = word.replace(/[\\'\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (char) => {
    if (char === '\n') return '\\n';
    if (char === '\\' || char === "'") return `\\${char}`;
    return [...Buffer.from(char)].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('');
  });
  return `$'${escaped}'`;
}
