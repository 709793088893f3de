import type { TransparencyLogEntry } from '@sigstore/bundle';
import type { X509Certificate } from '@sigstore/core';
import { GantryError } from '../error.ts';
import { type Field, parseDocument } from '../image/document.ts';
import { pemBlocks } from './pem.ts';

/**
 * Holds the certificate a log's entry names against the one the signature was verified with. The
 * library compares the signature and the digest alone; for an ECDSA signature other keys can be found
 * that verify it too, and then the log would show another signer than the one that is believed.
 *
 * @throws GantryError `bad-signature`
 */
export function requireLoggedCertificate(
  entry: TransparencyLogEntry,
  certificate: X509Certificate,
): void {
  const logged = loggedCertificate(entry);
  if (logged?.equals(certificate.root.toDER()) !== true) {
    throw new GantryError(
      'bad-signature',
      "the transparency log's entry is about another certificate than the one it is signed with",
    );
  }
}

/** The certificate inside an entry, DER; the body is authentic by now. */
function loggedCertificate({
  canonicalizedBody,
  kindVersion,
}: TransparencyLogEntry): Buffer | undefined {
  const what = 'transparency log entry';
  const spec = parseDocument(canonicalizedBody, { what, code: 'bad-signature' }).member('spec');
  switch (`${kindVersion.kind} ${kindVersion.version}`) {
    case 'hashedrekord 0.0.1':
      return pemCertificate(spec.member('signature').member('publicKey').member('content'));
    case 'dsse 0.0.1':
      return pemCertificate(first(spec.member('signatures')).member('verifier'));
    case 'intoto 0.0.2': {
      const envelope = spec.member('content').member('envelope');
      return pemCertificate(first(envelope.member('signatures')).member('publicKey'));
    }
    case 'hashedrekord 0.0.2':
      return rawCertificate(spec.member('hashedRekordV002').member('signature'));
    case 'dsse 0.0.2':
      return rawCertificate(first(spec.member('dsseV002').member('signatures')));
    default:
      return undefined;
  }
}

/** Rekor's first version keeps certificates as PEM, in base64. */
function pemCertificate(field: Field): Buffer | undefined {
  const blocks = pemBlocks(Buffer.from(field.string(), 'base64').toString('latin1'));
  const [block] = typeof blocks === 'string' ? [] : blocks;
  return block?.label === 'CERTIFICATE' ? Buffer.from(block.der) : undefined;
}

function rawCertificate(signature: Field): Buffer {
  const certificate = signature.member('verifier').member('x509Certificate');
  return Buffer.from(certificate.member('rawBytes').string(), 'base64');
}

function first(list: Field): Field {
  const [field] = list.list();
  if (field === undefined) throw list.refuse('is empty');
  return field;
}
