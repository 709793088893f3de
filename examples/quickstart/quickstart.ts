import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { machine } from 'node:os';
import { join } from 'node:path';
import { discoveryPage, type ExampleCom, startExampleCom } from './example-com.ts';
import { Surprise, show, tell } from './narrator.ts';
import { createSigningKey, type SigningKey } from './signing-key.ts';

const checkout = join(import.meta.dirname, '../..');
const state = join(checkout, '.quickstart');
const webRoot = join(state, 'www');
const architecture = machine() === 'x86_64' ? 'amd64' : machine();
const imageFile = join(webRoot, `images/hello-1.0.0-linux-${architecture}.aci`);
const uuidFile = join(state, 'uuid');

const gantry = join(checkout, 'bin/gantry');
const directories = ['--dir', '--local-config', '--system-config'].map(
  (option) => `${option}=${join(state, option.slice(2))}`,
);

let server: ExampleCom | undefined;
let key: SigningKey | undefined;
let interrupted = false;

/** Shows and runs one gantry command; see `directories` for what is added to each. */
function showGantry(shown: string, expected = 0, words = shown.split(' ')): Promise<void> {
  return show({
    shown: `gantry ${shown}`,
    words: [gantry, ...directories, ...words],
    environment: server?.environment ?? {},
    expected,
  });
}

async function packAndSign(): Promise<void> {
  tell('1. Build a small static program and pack it into an App Container image.');
  const out = join(state, 'hello');
  const make = ['-s', '-C', join(checkout, 'examples/hello'), `OUT=${out}`];
  await show({ shown: 'make -C examples/hello OUT=hello', words: ['make', ...make] });
  const inputs = ['manifest', 'rootfs'];
  await showGantry(
    `image pack ${inputs.map((name) => `--${name}=hello/${name}`).join(' ')} hello.aci`,
    0,
    ['image', 'pack', ...inputs.map((name) => `--${name}=${join(out, name)}`), imageFile],
  );

  tell('2. Make an OpenPGP key and sign the image with it.');
  key = await createSigningKey(state);
  await key.exportTo(join(webRoot, 'pubkeys.gpg'));
  await key.sign(imageFile);
}

async function serve(): Promise<void> {
  tell('3. Serve image, signature, key and discovery page over HTTPS.');
  writeFileSync(join(webRoot, 'hello/index.html'), discoveryPage);
  server = await startExampleCom(webRoot, state);
  console.log(
    '\n  (a local server plays example.com; HTTPS_PROXY and SSL_CERT_FILE lead gantry to it)',
  );
}

async function trustFetchRun(): Promise<void> {
  tell('4. Trust the key for this name. The location of the key is discovered from the name.');
  await showGantry('trust --prefix=example.com/hello --skip-fingerprint-review');

  tell('5. Fetch by name: found by discovery, verified against the key, kept by digest.');
  await showGantry('fetch example.com/hello:1.0.0');
  await showGantry('image list');

  tell('6. Run it.');
  const request = 'example.com/hello:1.0.0 -- --greet world';
  await showGantry(`run ${request}`, 0, [
    'run',
    `--uuid-file-save=${uuidFile}`,
    ...request.split(' '),
  ]);
  await showGantry('list');
  const uuid = readFileSync(uuidFile, 'utf8').trim();
  await showGantry(`status ${uuid.slice(0, 8)}`);
}

async function refuse(): Promise<void> {
  tell('7. One byte of the image on the server is changed, and it is fetched anew.');
  const image = readFileSync(imageFile);
  const middle = image.length >> 1;
  image.writeUInt8(image.readUInt8(middle) ^ 0xff, middle);
  writeFileSync(imageFile, image);
  await showGantry('fetch --pull-policy=update example.com/hello:1.0.0', 254);
  console.log('\n  Refused, with exit code 254, and nothing of it was kept:');
  await showGantry('image list');
}

/** Ends what still runs, then removes all there is. Safe to call on what an earlier run left. */
async function cleanUp(): Promise<void> {
  await server?.close();
  key?.close();
  const quiet = (...words: string[]) => spawnSync(gantry, [...directories, ...words]);
  const pods: unknown = JSON.parse(String(quiet('list', '--format=json').stdout) || '[]');
  for (const pod of Array.isArray(pods) ? pods : []) {
    if (pod.state === 'running') quiet('stop', '--force', pod.name);
  }
  quiet('gc', '--grace-period=0s', '--expire-prepared=0s');
  rmSync(state, { recursive: true, force: true });
}

async function main(): Promise<number> {
  // The child in the foreground gets the Ctrl-C too; this process outlives it to tidy up.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      interrupted = true;
    });
  }
  await cleanUp();
  for (const folder of ['images', 'hello']) mkdirSync(join(webRoot, folder), { recursive: true });
  process.chdir(state);
  console.log(
    `Gantry quickstart. All of it happens in ${state}, which is removed at the end;\n` +
      '"gantry" is bin/gantry with --dir, --local-config and --system-config pointing there.',
  );
  try {
    for (const act of [packAndSign, serve, trustFetchRun, refuse]) {
      await act();
      if (interrupted) throw new Surprise('interrupted');
    }
    tell('That was all of it: packed, signed, trusted, fetched, run, and refused when changed.');
    return 0;
  } catch (error) {
    if (!(error instanceof Surprise)) throw error;
    // The command may be seen to end by the Ctrl-C before this process has taken it.
    const stopped = interrupted || error.bySignal;
    console.error(`\nquickstart: ${stopped ? 'interrupted' : error.message}`);
    return stopped ? 130 : 1;
  } finally {
    process.chdir(checkout);
    await cleanUp();
  }
}

process.exitCode = await main();
