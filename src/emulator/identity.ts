/** Identifies a module. Ids are case-sensitive. */
export interface ModuleId {
  readonly deviceId: string;
  readonly moduleId: string;
}

/** A registered module, with the keys it may sign tokens with. */
export interface EmulatedModule extends ModuleId {
  /** base64 */
  readonly primaryKey: string;
  /** base64 */
  readonly secondaryKey?: string;
}

/** A module's name in maps and in texts; also its MQTT client id. */
export const nameOf = ({ deviceId, moduleId }: ModuleId) => `${deviceId}/${moduleId}`;

/** Letters, digits and some punctuation, at most 128. Source: "Understand the identity registry in your IoT hub". */
const ID = /^[A-Za-z0-9\-.+%_#*?!(),:=@$']{1,128}$/;

/** @throws RangeError if a hub would refuse to create this module */
export function checkModule({ deviceId, moduleId, primaryKey, secondaryKey }: EmulatedModule): void {
  for (const id of [deviceId, moduleId]) {
    if (!ID.test(id))
      throw new RangeError(`"${id}" is not a valid id: 1 to 128 of A-Z a-z 0-9 and - . + % _ # * ? ! ( ) , : = @ $ '`);
  }
  for (const key of secondaryKey === undefined ? [primaryKey] : [primaryKey, secondaryKey]) {
    const { length } = Buffer.from(key, 'base64');
    if (!/^[A-Za-z0-9+/]+={0,2}$/.test(key) || length < 16 || length > 64)
      throw new RangeError(`a key of ${nameOf({ deviceId, moduleId })} is not base64 of 16 to 64 bytes`);
  }
}
