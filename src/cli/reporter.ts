import type { Reporter } from '../fetch/reporter.ts';
import { formatSize } from './format.ts';
import { oneLine, say } from './print.ts';

/** A reporter that can be silenced, for `--quiet`. */
export interface TerminalReporter extends Reporter {
  quiet: boolean;
}

type Transfer = ReturnType<Reporter['transfer']>;

/** Speaks on standard error: a progress bar where it is a terminal, plain lines elsewhere. */
export function createReporter(debug: boolean): TerminalReporter {
  const reporter: TerminalReporter = {
    quiet: false,
    info: (line) => {
      if (!reporter.quiet) say(line);
    },
    debug: (line) => {
      if (debug) say(line);
    },
    warn: (line) => say(`warning: ${line}`),
    transfer: (label, total) => {
      if (reporter.quiet) return SILENT;
      return process.stderr.isTTY ? barTransfer(oneLine(label), total) : lineTransfer(label, total);
    },
  };
  return reporter;
}

const SILENT: Transfer = { advance: () => undefined, done: () => undefined };

function lineTransfer(label: string, total: number | undefined): Transfer {
  say(total === undefined ? `${label}` : `${label}: ${formatSize(total)}`);
  return SILENT;
}

/** A bar by cli-progress, which is loaded only now; what arrives before it is there is not lost. */
function barTransfer(label: string, total: number | undefined): Transfer {
  let received = 0;
  let finished = false;
  let bar: { update(value: number): void; stop(): void } | undefined;
  void import('cli-progress').then(({ default: progress }) => {
    if (finished) return;
    const single = new progress.SingleBar({
      format: `${label}: [{bar}] ${total === undefined ? '{size}' : '{size} / {whole}'}`,
      barCompleteChar: '=',
      barIncompleteChar: ' ',
      hideCursor: true,
      stream: process.stderr,
      linewrap: false,
    });
    const payload = () => ({ size: formatSize(received), whole: formatSize(total ?? 0) });
    single.start(total ?? 1, received, payload());
    bar = {
      update: (value) => single.update(total === undefined ? 0 : value, payload()),
      stop: () => single.stop(),
    };
  });
  return {
    advance: (bytes) => {
      received += bytes;
      bar?.update(received);
    },
    done: () => {
      finished = true;
      bar?.update(received);
      bar?.stop();
    },
  };
}
