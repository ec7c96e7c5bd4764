import * as v from 'valibot';
import { toAgentError } from '../../core/base/errors.ts';
import { readSecretFile } from '../../core/base/secret-file.ts';
import { HubFailure } from '../../core/contract/hub.ts';
import { secretFile } from '../../core/contract/local-schemas.ts';
import { deviceIdentity } from './device-identity.ts';
import { identityKind } from './kind.ts';
import { CREATE_MODULE, DEVICE_ID, MODULE_ID, moduleAddress } from './module-settings.ts';
import { checkedKey } from './shared-access-key.ts';

/** The device has a key; with it the agent reads the module's keys from the hub's registry. */
export const deviceKey = identityKind({
  kind: 'deviceKey',
  schema: v.strictObject({
    kind: v.literal('deviceKey'),
    deviceId: DEVICE_ID,
    moduleId: MODULE_ID,
    keyFile: secretFile("File with the device's key in base64; only its owner may be able to read it."),
    createModule: CREATE_MODULE,
  }),
  create({ kind, deviceId, moduleId, keyFile, createModule }, context) {
    const module = moduleAddress({ deviceId, moduleId }, context.hub);
    const read = () => checkedKey(readSecretFile(keyFile), keyFile, 'device');
    let key = read(); // reports a bad file at the start
    return deviceIdentity({
      kind,
      files: [keyFile],
      module,
      createModule,
      credential: `the key in ${keyFile}`,
      async proof({ onStep }) {
        try {
          key = read();
        } catch (error) {
          throw new HubFailure(toAgentError(error), 'credentials');
        }
        onStep?.({ name: 'identity', text: `${deviceId}/${moduleId} at ${module.hostName}, by ${kind}` });
        return { kind: 'key', key };
      },
      secrets: () => [key],
      context,
    });
  },
});
