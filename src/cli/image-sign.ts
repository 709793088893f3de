import { GantryError } from '../error.ts';
import type { ImageSignature, SigningFormat, SigningRequest } from '../fetch/image-signing.ts';
import { formatDigest } from '../image/digest.ts';
import { parseReference, type Reference } from '../image/reference.ts';
import type { SigningKey } from '../trust/signing-key.ts';
import { type CommandDefinition, flag, type Invocation, valued } from './command.ts';
import type { Context } from './context.ts';
import { interruptible } from './interruption.ts';
import { choosePassphrase, findPassphrase, type PassphraseSource } from './passphrase.ts';
import { PLATFORM_CHOICE_OPTIONS, withPlatform } from './platform-options.ts';
import { oneLine, print } from './print.ts';

export const definition: CommandDefinition = {
  name: 'image sign',
  summary: 'sign images where they are published',
  description:
    "Signs each IMAGE and publishes the signature beside it. An OpenPGP key signs ACI files and archives (IMAGE.asc) and, for lookaside stores, images in registries and layouts; a sigstore key (PEM, or cosign's own) signs images in registries and layouts, so that gantry, cosign and podman accept them. What is signed is the digest of what IMAGE means now: an index as a whole, unless a platform is chosen. A passphrase is taken from --passphrase-file, from $GANTRY_KEY_PASSPHRASE, or asked for.",
  operands: '[IMAGE...]',
  options: [
    valued('--key <FILE>', 'the secret key'),
    valued('--generate-key <FILE>', 'make a new key first: FILE and, to be trusted, FILE.pub'),
    valued('--passphrase-file <FILE>', "the file whose first line is the key's passphrase"),
    valued('--format <FORMAT>', 'cosign, bundle or both (sigstore keys); simple-signing (OpenPGP)'),
    valued('--lookaside <DIR>', 'the lookaside store for OpenPGP signatures of OCI images'),
    valued('--sign-identity <REFERENCE>', 'what the signature calls the image (default: IMAGE)'),
    ...PLATFORM_CHOICE_OPTIONS,
    flag('--overwrite', 'replace a signature that is there by the same key, or the same file'),
  ],
  examples: [
    'gantry image sign --generate-key release.key',
    'gantry image sign --key release.key docker://registry.example.com/app:1.0.0',
    'gantry image sign --key secret.asc app.aci',
    'gantry image sign --key secret.asc --lookaside /srv/signatures oci:layout:1.0.0',
  ],
  async run(context, invocation) {
    const wishes = wishesOf(invocation);
    const references = invocation.operands.map((text) =>
      withPlatform(parseReference(text), invocation.options),
    );
    const source: PassphraseSource = {
      file: wishes.passphraseFile,
      env: process.env,
      warn: context.report.warn,
    };
    if (wishes.generateKey !== undefined) await makeKey(wishes.generateKey, source);
    if (references.length === 0) return 0;
    const key = await openKey(wishes, source);
    await signAll(context, references, { ...wishes, key });
    return 0;
  },
};

/** What the options ask for, checked for sense. */
interface SigningWishes extends Omit<SigningRequest, 'key'> {
  readonly keyFile: string | undefined;
  readonly generateKey: string | undefined;
  readonly passphraseFile: string | undefined;
}

function wishesOf({ operands, options }: Invocation): SigningWishes {
  const given = options as Record<string, string | undefined>;
  const generateKey = given['generateKey'];
  const keyFile = given['key'] ?? generateKey;
  if (generateKey !== undefined && keyFile !== generateKey) {
    throw new GantryError(
      'usage',
      '--key and --generate-key name different files: give one of them',
    );
  }
  if (operands.length === 0 && generateKey === undefined) {
    throw new GantryError('usage', 'must provide at least one image, or --generate-key');
  }
  if (keyFile === undefined) {
    throw new GantryError(
      'usage',
      'nothing to sign with: give --key FILE, or make one with --generate-key FILE',
    );
  }
  return {
    keyFile,
    generateKey,
    passphraseFile: given['passphraseFile'],
    formats: formatsOf(given['format']),
    lookaside: given['lookaside'],
    identity: given['signIdentity'],
    overwrite: options['overwrite'] === true,
  };
}

function formatsOf(word: string | undefined): SigningFormat[] | undefined {
  switch (word) {
    case undefined:
      return undefined;
    case 'both':
      return ['cosign', 'bundle'];
    case 'cosign':
    case 'bundle':
    case 'simple-signing':
      return [word];
    default:
      throw new GantryError(
        'usage',
        `--format: "${word}" is unknown: use cosign, bundle, both or simple-signing`,
      );
  }
}

async function makeKey(path: string, source: PassphraseSource): Promise<void> {
  const { generateKeyPair, requireUnused } = await import('../trust/key-pair.ts');
  // Before anybody is asked to think of a passphrase.
  requireUnused(path);
  const passphrase = await choosePassphrase(source);
  const { publicPath, fingerprint } = await generateKeyPair(path, passphrase);
  passphrase?.fill(0);
  print(`Generated key "${path}", public key "${publicPath}", fingerprint ${fingerprint}\n`);
}

async function openKey({ keyFile }: SigningWishes, source: PassphraseSource): Promise<SigningKey> {
  const { readSigningKey } = await import('../trust/signing-key.ts');
  return await readSigningKey(keyFile ?? '', {
    askPassphrase: (path) => findPassphrase(source, `Passphrase for ${oneLine(path)}: `),
    warn: source.warn,
  });
}

async function signAll(
  context: Context,
  references: readonly Reference[],
  request: SigningRequest,
): Promise<void> {
  const { signImage } = await import('../fetch/image-signing.ts');
  const interruption = interruptible();
  const transport = {
    directories: context.directories,
    insecure: context.insecure,
    report: context.report,
    env: process.env,
    signal: interruption.signal,
  };
  try {
    for (const reference of references) {
      const signatures = await signImage(reference, request, transport);
      for (const signature of signatures) print(lineOf(reference.text, signature));
    }
  } finally {
    interruption.end();
  }
}

function lineOf(image: string, { signed, kind, where, made }: ImageSignature): string {
  const verb = made ? 'Signed' : 'Already signed';
  const what = `${signed.what} ${formatDigest(signed.digest)}`;
  return `${verb} ${oneLine(image)} (${what}): ${kind} signature at ${oneLine(where)}\n`;
}
