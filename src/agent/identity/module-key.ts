import * as v from 'valibot';
import { readSecretFile } from '../../core/base/secret-file.ts';
import { secretFile } from '../../core/contract/local-schemas.ts';
import { identityKind } from './kind.ts';
import { DEVICE_ID, MODULE_ID, moduleAddress } from './module-settings.ts';
import { checkedKey } from './shared-access-key.ts';
import { SharedKeyIdentity } from './shared-keys.ts';

/** The module's ids are in the configuration, its keys are in files. */
export const moduleKey = identityKind({
  kind: 'moduleKey',
  schema: v.strictObject({
    kind: v.literal('moduleKey'),
    deviceId: DEVICE_ID,
    moduleId: MODULE_ID,
    keyFile: secretFile('File with the key in base64; only its owner may be able to read it.'),
    secondaryKeyFile: v.optional(
      secretFile('File with the secondary key, which is used when the hub refuses the first one.'),
    ),
  }),
  create({ kind, deviceId, moduleId, keyFile, secondaryKeyFile }, { hub, clock }) {
    const module = moduleAddress({ deviceId, moduleId }, hub);
    const keyIn = (file: string) => checkedKey(readSecretFile(file), file);
    return new SharedKeyIdentity({
      kind,
      files: secondaryKeyFile === undefined ? [keyFile] : [keyFile, secondaryKeyFile],
      read: () => ({
        module,
        keys: [
          { source: 'primary', key: keyIn(keyFile) },
          ...(secondaryKeyFile === undefined ? [] : [{ source: 'secondary', key: keyIn(secondaryKeyFile) }]),
        ],
      }),
      clock,
    });
  },
});
