import { spawnSync } from 'node:child_process';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type HostState, leaksSince, readHost } from '../support/host.ts';
import { needs, program, root } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { LaunchPod } from './launch/pods.ts';

/**
 * Runs the pod of the working directory on a new pseudo-terminal, as a shell's job, and prints what
 * is asked for at the end. Each argument is one action: `type:TEXT`, `see:TEXT` (wait for it),
 * `size:COLS,ROWS`, `signal:NAME`, `stopped:` (wait until it is).
 */
const session = `
import os, pty, sys, time, signal, fcntl, termios, struct, select
directory, actions = sys.argv[1], sys.argv[2:]
os.chdir(directory)
master, slave = pty.openpty()
fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack('HHHH', 33, 99, 0, 0))
before = termios.tcgetattr(slave)
lock = os.open('.', os.O_RDONLY); fcntl.flock(lock, fcntl.LOCK_EX)
pid = os.fork()
if pid == 0:
    os.setsid(); fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    job = os.fork()
    if job == 0:
        os.setpgid(0, 0); signal.signal(signal.SIGTTOU, signal.SIG_IGN); os.tcsetpgrp(slave, os.getpgrp())
        signal.signal(signal.SIGTTOU, signal.SIG_DFL)
        for fd in range(3): os.dup2(slave, fd)
        os.set_inheritable(lock, True); os.environ['GANTRY_LOCK_FD'] = str(lock)
        os.execv('stage1/run', ['run', 'test'])
    os.close(lock); os.close(master)
    while True:
        _, status = os.waitpid(job, os.WUNTRACED)
        if os.WIFSTOPPED(status):
            open('stopped', 'w').write(str(termios.tcgetattr(slave) == before))
        else:
            os._exit(os.waitstatus_to_exitcode(status) % 256)
os.close(lock)
seen = b''
def read(timeout):
    global seen
    if select.select([master], [], [], timeout)[0]:
        try: seen += os.read(master, 65536)
        except OSError: pass
def supervisor(): return int(open('pid').read().split()[0])
deadline = time.time() + 8
at = 0
for action in actions:
    word, _, value = action.partition(':')
    if word == 'type': os.write(master, value.encode().decode('unicode_escape').encode())
    if word == 'see':
        while value.encode() not in seen[at:] and time.time() < deadline: read(0.05)
        at = max(at, seen.find(value.encode(), at) + len(value))
    if word == 'size':
        cols, rows = map(int, value.split(','))
        fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack('HHHH', rows, cols, 0, 0))
        os.kill(supervisor(), signal.SIGWINCH)
    if word == 'signal': os.kill(supervisor(), getattr(signal, value))
    if word == 'stopped':
        while not os.path.exists('stopped') and time.time() < deadline: read(0.05)
        print('restored-while-stopped', open('stopped').read())
while time.time() < deadline:
    done, status = os.waitpid(pid, os.WNOHANG)
    if done: break
    read(0.02)
else:
    os.kill(supervisor(), signal.SIGKILL); status = 256 * 99
while select.select([master], [], [], 0.05)[0]:
    n = len(seen); read(0.05)
    if len(seen) == n: break
print('raw', termios.tcgetattr(slave) != before)
print('exit', os.waitstatus_to_exitcode(status))
sys.stdout.flush(); sys.stdout.buffer.write(seen)
`;

let base: string;
let before: HostState;

beforeEach((context) => {
  needs(context, root, program('python3'));
  base = temporaryDirectory();
  before = readHost(base);
});
afterEach(async () => {
  expect(await leaksSince(before, base)).toEqual([]);
});

const pod = (...words: string[]) =>
  new LaunchPod({ terminal: true, grace: 1, apps: { web: { do: words } } }, 'pod', base);

/** What the session printed: its findings, then what the terminal showed. */
function talk(made: LaunchPod, ...actions: string[]): string {
  const { stdout, stderr } = spawnSync('python3', ['-c', session, made.directory, ...actions], {
    encoding: 'utf8',
  });
  expect(stderr).toBe('');
  return stdout.replaceAll('\r\n', '\n');
}

describe('an interactive app', () => {
  it('has a terminal of its own, of the size of the operator’s, which is as before at the end', () => {
    const shown = talk(pod('terminal', '', 'stat', '/dev/console', 'exit', '4'));
    expect(shown).toContain('tty=/dev/pts/0 stdout=1 session=1 foreground=1');
    expect(shown).toContain('size=99x33');
    expect(shown).toContain('/dev/console: mode=20620');
    expect(shown).toContain('raw False\nexit 4');
  });

  it('reads what is typed, with its own terminal’s echo and editing, and the end of input', () => {
    const shown = talk(
      pod('say', 'go', 'input', ''),
      'see:go',
      'type:hallo\\x7f\\x7fo\\n',
      'see:read',
      'type:\\x04',
    );
    expect(shown).toContain('read 5: halo');
    expect(shown).toContain('end of input');
    expect(shown).toContain('exit 0');
  });

  it('is interrupted by Ctrl-C and quit by Ctrl-\\ itself', () => {
    expect(talk(pod('say', 'go', 'wait', ''), 'see:go', 'type:\\x03')).toContain('exit 130');
    const quit = new LaunchPod(
      { terminal: true, apps: { web: { do: ['say', 'go', 'wait', ''] } } },
      'quit',
      base,
    );
    expect(talk(quit, 'see:go', 'type:\\x1c')).toContain('exit 131');
  });

  it('learns of a new size', () => {
    const made = pod('catch', '28', 'say', 'go', 'sleep', '3000', 'terminal', '');
    const shown = talk(made, 'see:go', 'size:120,50', 'see:size');
    expect(shown).toContain('got Window changed');
    expect(shown).toContain('size=120x50');
  });

  it('leaves the terminal as it was when the supervisor is ended by signals', () => {
    for (const [signal, code] of [
      ['SIGTERM', 143],
      ['SIGINT', 143],
      ['SIGALRM', 242],
      ['SIGSEGV', 245],
    ] as const) {
      const made = new LaunchPod(
        { terminal: true, apps: { web: { do: ['say', 'go', 'wait', ''] } } },
        signal,
        base,
      );
      const shown = talk(made, 'see:go', `signal:${signal}`);
      expect(shown).toContain(`raw False\nexit ${code}`);
    }
  });

  it('gives the terminal back while the supervisor is stopped, and takes it again', () => {
    const made = pod('say', 'go', 'input', '');
    const shown = talk(
      made,
      'see:go',
      'signal:SIGTSTP',
      'stopped:',
      'signal:SIGCONT',
      'type:again\\n',
      'see:read 6',
      'type:\\x04',
    );
    expect(shown).toContain('restored-while-stopped True');
    expect(shown).toContain('read 6: again');
    expect(shown).toContain('raw False\nexit 0');
  });

  it('reads a file or pipe to its end, also in the middle of a line', async () => {
    const made = pod('input', '');
    const child = made.start({ stdio: ['pipe', 'pipe', 'pipe'] });
    let shown = '';
    child.stdout?.on('data', (bytes) => {
      shown += bytes;
    });
    child.stdin?.end('one\ntwo');
    await new Promise((resolve) => child.once('close', resolve));
    expect(shown).toContain('read 4: one');
    expect(shown).toContain('read 3: two');
    expect(shown).toContain('end of input');
  });

  it('loses no output at its end', async () => {
    const made = pod('long', '200000');
    const child = made.start();
    let length = 0;
    child.stdout?.on('data', (bytes: Buffer) => {
      length += bytes.length;
    });
    await new Promise((resolve) => child.once('close', resolve));
    expect(length).toBe(200_000);
  });
});
