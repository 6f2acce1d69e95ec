/** The version of this Odradek, as package.json says it: for `--version`, the start-up lines and bug reports. */
import description from "../../package.json" with { type: "json" };

export const VERSION: string = description.version;
/** The Apache Kafka whose protocol, file formats and semantics are the measure. */
export const KAFKA_VERSION = "4.3.1";
