# Kafka Connect with the Debezium plugin, from the same pom and the same properties as the local stack; what is said
# in CONNECT_* variables goes before those (connect-properties.sh).
# Build from the repository's root: docker build -f deploy/container/connect.Dockerfile -t medialane-connect .
FROM maven:3.9-eclipse-temurin-17 AS build
COPY deploy/local/jars/plugin/pom.xml /plugin/pom.xml
RUN mvn --batch-mode --no-transfer-progress --file /plugin/pom.xml dependency:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory=/opt/connect/plugins/debezium
COPY deploy/container/connect-properties.sh deploy/container/connect-start.sh /opt/connect/
COPY deploy/local/connect.properties deploy/local/log4j2.yaml deploy/local/late-timers.sh /opt/connect/

FROM apache/kafka:4.3.1
COPY --from=build /opt/connect /opt/connect
ENV KAFKA_LOG4J_OPTS=-Dlog4j2.configurationFile=/opt/connect/log4j2.yaml
EXPOSE 8083
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8083/connectors"]
ENTRYPOINT ["/opt/connect/connect-start.sh"]
