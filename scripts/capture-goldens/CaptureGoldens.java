import java.io.BufferedOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.File;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.lang.reflect.Modifier;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Collection;
import java.util.Enumeration;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.zip.GZIPOutputStream;

import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.ObjectSerializationCache;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.CompactArrayOf;
import org.apache.kafka.common.protocol.types.Field;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;

/**
 * Writes random instances of every Kafka message and every valid version as bytes, made by Kafka's own classes: random
 * bytes that follow the class's schema are read by the class and written by it again, so that what stands in the file
 * is what Kafka writes.
 *
 * Arguments: output directory, seed, instances per version, jars. goldens.bin.gz holds per instance an unsigned short
 * and that many bytes of name, a short version, an int and that many bytes of message; defaults.txt.gz a line per class
 * (message or struct in it) with the names and default values of its fields.
 */
public final class CaptureGoldens {
    private static final long MAX_SAFE = (1L << 53) - 1;

    /** A definition's own name stands before its fields' names. */
    private static final Pattern NAME = Pattern.compile("\"name\":\\s*\"(\\w+)\"");

    private final Random random;

    private CaptureGoldens(long seed) {
        this.random = new Random(seed);
    }

    public static void main(String[] args) throws Exception {
        long seed = Long.parseLong(args[1]);
        int instances = Integer.parseInt(args[2]);
        Map<String, Class<?>> messages = new TreeMap<>();
        for (int i = 3; i < args.length; i++) collect(args[i], messages);
        int written = 0;
        try (DataOutputStream out = new DataOutputStream(
                gzip(args[0], "goldens.bin.gz"))) {
            for (Map.Entry<String, Class<?>> entry : messages.entrySet()) {
                Message empty = (Message) entry.getValue().getDeclaredConstructor().newInstance();
                Schema[] schemas = (Schema[]) entry.getValue().getField("SCHEMAS").get(null);
                for (short version = empty.lowestSupportedVersion(); version <= empty.highestSupportedVersion(); version++) {
                    // A seed of its own for each, so that one changed message changes no other's bytes.
                    CaptureGoldens capture = new CaptureGoldens(seed * 31 + entry.getKey().hashCode() * 131L + version);
                    for (int i = 0; i < instances; i++) {
                        byte[] bytes = capture.instance(entry.getValue(), schemas[version], version);
                        byte[] name = entry.getKey().getBytes(StandardCharsets.UTF_8);
                        out.writeShort(name.length);
                        out.write(name);
                        out.writeShort(version);
                        out.writeInt(bytes.length);
                        out.write(bytes);
                        written++;
                    }
                }
            }
        }
        try (DataOutputStream out = new DataOutputStream(gzip(args[0], "defaults.txt.gz"))) {
            for (Map.Entry<String, Class<?>> entry : messages.entrySet()) {
                TreeMap<String, String> lines = new TreeMap<>();
                lines.put(entry.getKey(), defaults(entry.getValue()));
                for (Class<?> inner : entry.getValue().getDeclaredClasses()) {
                    if (!Message.class.isAssignableFrom(inner)) continue;
                    lines.put(entry.getKey() + "." + inner.getSimpleName(), defaults(inner));
                }
                for (Map.Entry<String, String> line : lines.entrySet()) {
                    out.write((line.getKey() + "|" + line.getValue() + "\n").getBytes(StandardCharsets.UTF_8));
                }
            }
        }
        System.out.println(written + " instances of " + messages.size() + " messages");
    }

    private static OutputStream gzip(String directory, String name) throws IOException {
        return new GZIPOutputStream(new BufferedOutputStream(new FileOutputStream(new File(directory, name))));
    }

    /** name=value of every field of a new instance, in the order of names. */
    private static String defaults(Class<?> type) throws Exception {
        Object fresh = type.getDeclaredConstructor().newInstance();
        TreeMap<String, String> values = new TreeMap<>();
        for (java.lang.reflect.Field field : type.getDeclaredFields()) {
            String name = field.getName();
            // The links of Kafka's hash collections are no fields of the message.
            boolean link = field.getType() == int.class && (name.equals("next") || name.equals("prev"));
            if (Modifier.isStatic(field.getModifiers()) || name.equals("_unknownTaggedFields") || link) continue;
            field.setAccessible(true);
            Object value = field.get(fresh);
            String text;
            if (value == null) text = "null";
            else if (value instanceof byte[] || value instanceof ByteBuffer) text = "bytes";
            else if (value instanceof Collection) text = "list";
            else if (value instanceof Message) text = "struct";
            else if (value instanceof Double) text = String.valueOf(((Double) value).longValue());
            else text = value.toString();
            values.put(name, text);
        }
        StringBuilder line = new StringBuilder();
        for (Map.Entry<String, String> value : values.entrySet()) {
            line.append(value.getKey()).append('=').append(value.getValue()).append(';');
        }
        return line.toString();
    }

    /** Finds, for every message definition in the jar, the class Kafka generated from it. */
    private static void collect(String path, Map<String, Class<?>> messages) throws Exception {
        Map<String, String> classes = new TreeMap<>();
        try (JarFile jar = new JarFile(new File(path))) {
            for (Enumeration<JarEntry> e = jar.entries(); e.hasMoreElements();) {
                String name = e.nextElement().getName();
                if (!name.endsWith(".class") || name.contains("$")) continue;
                String full = name.substring(0, name.length() - 6).replace('/', '.');
                String simple = full.substring(full.lastIndexOf('.') + 1);
                if (full.contains(".message.") || full.contains(".metadata.") || full.contains(".generated.")) {
                    classes.put(simple, full);
                }
            }
            for (Enumeration<JarEntry> e = jar.entries(); e.hasMoreElements();) {
                JarEntry entry = e.nextElement();
                String name = entry.getName();
                if (!name.matches("(.*/)?(message|metadata)/\\w+\\.json")) continue;
                String json = new String(jar.getInputStream(entry).readAllBytes(), StandardCharsets.UTF_8);
                if (json.contains("\"validVersions\": \"none\"")) continue;
                Matcher named = NAME.matcher(json);
                if (!named.find()) throw new IllegalStateException("no name in " + name);
                String message = named.group(1);
                String full = classes.getOrDefault(message + "Data", classes.get(message));
                if (full == null) throw new IllegalStateException("no class for " + message + " in " + path);
                messages.put(message, Class.forName(full));
            }
        }
    }

    private byte[] instance(Class<?> type, Schema schema, short version) throws Exception {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        write(schema, new DataOutputStream(bytes), false);
        Message message = (Message) type.getDeclaredConstructor().newInstance();
        ByteBufferAccessor source = new ByteBufferAccessor(ByteBuffer.wrap(bytes.toByteArray()));
        message.read(source, version);
        if (source.remaining() != 0) throw new IllegalStateException(type + " v" + version + " left " + source.remaining());
        ObjectSerializationCache cache = new ObjectSerializationCache();
        ByteBuffer target = ByteBuffer.allocate(message.size(cache, version));
        message.write(new ByteBufferAccessor(target), cache, version);
        return target.array();
    }

    private void write(Type type, DataOutputStream out, boolean tagged) throws IOException {
        if (type instanceof Schema) {
            if (type.isNullable()) {
                boolean absent = random.nextInt(3) == 0;
                // In a tagged field the mark is an unsigned varint, elsewhere a byte that is negative for null.
                out.writeByte(absent ? (tagged ? 0 : -1) : 1);
                if (absent) return;
            }
            for (BoundField field : ((Schema) type).fields()) write(field.def.type, out, false);
        } else if (type instanceof TaggedFields) {
            writeTags((TaggedFields) type, out);
        } else if (type.arrayElementType().isPresent()) {
            boolean compact = type instanceof CompactArrayOf;
            boolean absent = type.isNullable() && random.nextInt(4) == 0;
            int count = absent ? -1 : random.nextInt(10) == 0 ? 3 : random.nextInt(3);
            if (compact) unsigned(out, count + 1);
            else out.writeInt(count);
            for (int i = 0; i < count; i++) write(type.arrayElementType().get(), out, false);
        } else {
            primitive(type, out);
        }
    }

    private void writeTags(TaggedFields section, DataOutputStream out) throws IOException {
        TreeMap<Integer, byte[]> chosen = new TreeMap<>();
        for (Map.Entry<Integer, Field> entry : section.fields().entrySet()) {
            if (random.nextInt(3) == 0) continue;
            ByteArrayOutputStream bytes = new ByteArrayOutputStream();
            write(entry.getValue().type, new DataOutputStream(bytes), true);
            chosen.put(entry.getKey(), bytes.toByteArray());
        }
        unsigned(out, chosen.size());
        for (Map.Entry<Integer, byte[]> entry : chosen.entrySet()) {
            unsigned(out, entry.getKey());
            unsigned(out, entry.getValue().length);
            out.write(entry.getValue());
        }
    }

    private void primitive(Type type, DataOutputStream out) throws IOException {
        switch (((Type.DocumentedType) type).typeName()) {
            case "BOOLEAN": out.writeByte(random.nextInt(2)); break;
            case "INT8": out.writeByte(random.nextInt()); break;
            case "INT16":
            case "UINT16": out.writeShort(random.nextInt()); break;
            case "INT32":
            case "UINT32": out.writeInt(random.nextInt(4) == 0 ? random.nextInt(5) - 2 : random.nextInt()); break;
            case "INT64": out.writeLong(safeLong()); break;
            case "FLOAT64": out.writeDouble(random.nextGaussian() * 1e6); break;
            case "UUID":
                out.writeLong(random.nextLong());
                out.writeLong(random.nextLong());
                break;
            case "STRING": text(out, false, false); break;
            case "COMPACT_STRING": text(out, true, false); break;
            case "NULLABLE_STRING": text(out, false, true); break;
            case "COMPACT_NULLABLE_STRING": text(out, true, true); break;
            case "BYTES": bytes(out, false, false); break;
            case "COMPACT_BYTES": bytes(out, true, false); break;
            case "NULLABLE_BYTES": bytes(out, false, true); break;
            case "COMPACT_NULLABLE_BYTES": bytes(out, true, true); break;
            case "RECORDS": bytes(out, false, false); break;
            case "COMPACT_RECORDS": bytes(out, true, false); break;
            case "NULLABLE_RECORDS": bytes(out, false, true); break;
            case "COMPACT_NULLABLE_RECORDS": bytes(out, true, true); break;
            default: throw new IllegalStateException("type " + type);
        }
    }

    private long safeLong() {
        switch (random.nextInt(5)) {
            case 0: return random.nextInt(5) - 2;
            case 1: return random.nextInt();
            case 2: return -(Math.abs(random.nextLong()) % MAX_SAFE);
            default: return Math.abs(random.nextLong() % MAX_SAFE);
        }
    }

    private void text(DataOutputStream out, boolean compact, boolean nullable) throws IOException {
        byte[] bytes = null;
        if (!nullable || random.nextInt(4) != 0) {
            int length = random.nextInt(40) == 0 ? 100 + random.nextInt(200) : random.nextInt(9);
            StringBuilder value = new StringBuilder();
            while (value.length() < length) {
                int kind = random.nextInt(200);
                if (kind == 0) value.appendCodePoint(0x1F600 + random.nextInt(64));
                else if (kind < 4) value.appendCodePoint(0xA1 + random.nextInt(0x2000));
                else value.append((char) ('!' + random.nextInt(94)));
            }
            bytes = value.toString().getBytes(StandardCharsets.UTF_8);
        }
        int length = bytes == null ? -1 : bytes.length;
        if (compact) unsigned(out, length + 1);
        else out.writeShort(length);
        if (bytes != null) out.write(bytes);
    }

    private void bytes(DataOutputStream out, boolean compact, boolean nullable) throws IOException {
        byte[] value = null;
        if (!nullable || random.nextInt(4) != 0) {
            value = new byte[random.nextInt(40) == 0 ? 120 + random.nextInt(20) : random.nextInt(10)];
            random.nextBytes(value);
        }
        int length = value == null ? -1 : value.length;
        if (compact) unsigned(out, length + 1);
        else out.writeInt(length);
        if (value != null) out.write(value);
    }

    private static void unsigned(DataOutputStream out, int value) throws IOException {
        int rest = value;
        while ((rest & ~127) != 0) {
            out.writeByte((rest & 127) | 128);
            rest >>>= 7;
        }
        out.writeByte(rest);
    }
}
