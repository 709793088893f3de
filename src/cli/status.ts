import { type PodStatus, podStatus } from '../pod/status.ts';
import { type CommandDefinition, valued } from './command.ts';
import { parseDuration } from './duration.ts';
import { formatJson } from './format.ts';
import { becomeFront } from './installation.ts';
import { formatOption, parseFormat } from './output.ts';
import { formatNetworks, podJson, timeLine } from './pod-output.ts';
import { onlyPod, podNames, uuidFileOption } from './pod-selection.ts';
import { oneLine, print } from './print.ts';
import { signerText } from './signer.ts';

export const definition: CommandDefinition = {
  name: 'status',
  summary: "print a pod's state and the exit codes of its apps",
  operands: 'UUID',
  options: [
    valued('--wait [DURATION]', 'wait until the pod has ended, at most so long'),
    valued('--wait-ready [DURATION]', 'wait until the pod is ready, at most so long'),
    uuidFileOption(),
    formatOption(),
  ],
  examples: ['gantry status --wait=10s 5bc080ca'],
  run(context, { operands, options }) {
    const format = parseFormat(options['format']);
    const waits = waitWords(options);
    if (waits.length > 0) {
      // Waiting costs nothing in the front; it comes back here, without these words, to print.
      const formatWord = format === undefined ? [] : [`--format=${format}`];
      const words = ['status', ...waits, ...formatWord, ...podNames(operands, options)];
      return becomeFront(context.dataDir, words);
    }
    using pod = onlyPod(context, operands, options);
    const status = podStatus(pod);
    const text = format === undefined ? statusText(status) : formatJson(podJson(status), format);
    print(`${text}\n`);
    return 0;
  },
};

/** The waiting options that ask for something, with their durations checked. Throws `usage`. */
function waitWords(options: Record<string, unknown>): string[] {
  const asked = { '--wait-ready': options['waitReady'], '--wait': options['wait'] };
  return Object.entries(asked).flatMap(([option, value]) => {
    const word = String(value);
    if (value === undefined || NO.test(word)) return [];
    // Without end where it is negative, as in rkt.
    if (!YES.test(word) && parseDuration(word.replace(/^[-+]/, ''), option) === 0) return [];
    return [`${option}=${word}`];
  });
}

/** What Go's strconv.ParseBool takes, which rkt asks before it reads a duration. */
const YES = /^(1|t|T|true|TRUE|True|)$/;
const NO = /^(0|f|F|false|FALSE|False)$/;

/** rkt's lines, and after them who signed the images and what isolates the pod, where that is known. */
function statusText(status: PodStatus): string {
  const signers = status.apps.flatMap(({ name, provenance }) =>
    provenance === undefined ? [] : [`signed-${name}=${oneLine(signerText(provenance, true))}`],
  );
  const stage1 = status.stage1 === undefined ? [] : [`stage1=${oneLine(status.stage1.name)}`];
  return [...stateLines(status), ...signers, ...stage1].join('\n');
}

/** Which of them there are depends on the state (rkt's Documentation/subcommands/status.md). */
function stateLines(status: PodStatus): string[] {
  const { state } = status;
  const lines = [`state=${state}`, ...timeLine('created', status.createdAt)];
  lines.push(...timeLine('started', status.startedAt));
  if (state === 'running' || state === 'exited') {
    lines.push(`networks=${formatNetworks(status.networks)}`);
  }
  if (!HAS_RUN.has(state)) return lines;
  if (status.pid !== undefined) lines.push(`pid=${status.pid}`);
  lines.push(`exited=${state === 'exited' || state === 'exited garbage'}`);
  if (state !== 'running') {
    for (const app of status.apps) {
      if (app.exitCode !== undefined) lines.push(`app-${app.name}=${app.exitCode}`);
    }
  }
  return lines;
}

const HAS_RUN: ReadonlySet<string> = new Set([
  'running',
  'deleting',
  'exited deleting',
  'exited',
  'exited garbage',
]);
