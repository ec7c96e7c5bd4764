/**
 * A hub's rule for the ids of devices and modules. They become part of user names, topics, tokens and paths; `+` and `#`,
 * the wildcards of MQTT, would make every topic invalid.
 *
 * Source: "Understand the identity registry in your IoT hub", device identity properties.
 */
export const HUB_ID = /^[A-Za-z0-9.%_*?!(),:=@$'-]{1,128}$/;

/** What is wrong with a text that is not such an id. */
export const HUB_ID_PROBLEM = "must have 1 to 128 letters, digits and - . % _ * ? ! ( ) , : = @ $ '";

export const isHubId = (text: string): boolean => HUB_ID.test(text);
