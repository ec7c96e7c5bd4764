/**
 * Whether a text can be the id of a device or a module: it becomes part of user names, topics and tokens.
 *
 * Source: "Understand the identity registry in your IoT hub", Azure IoT Hub documentation.
 */
export const isHubId = (text: string): boolean => /^[A-Za-z0-9\-.+%_#*?!(),:=@$']{1,128}$/.test(text);
