import { GantryError } from '../error.ts';
import { quote } from '../image/quotation.ts';
import {
  type LayoutReference,
  parseReference,
  type RegistryReference,
} from '../image/reference.ts';

/** Where an image can be written to by `image copy` and `image import`. Throws `usage`. */
export function destinationPlace(text: string): RegistryReference | LayoutReference {
  const reference = parseReference(text);
  switch (reference.kind) {
    case 'registry':
    case 'layout':
      return reference;
    case 'name':
      throw refused(
        text,
        `the store takes what gantry fetch verified; for a registry say docker://${text}`,
      );
    case 'id':
      throw refused(text, 'the store takes what gantry fetch verified');
    case 'url':
    case 'path':
      throw refused(text, 'an ACI is made by gantry image pack or gantry image export');
  }
}

function refused(text: string, why: string): GantryError {
  return new GantryError(
    'usage',
    `destination ${quote(text)}: ${why}; give docker://HOST/REPO:TAG, oci:DIR:REF, oci-archive:FILE or docker-archive:FILE`,
  );
}
