# Kafka Connect with the Debezium plugin, from the same poms as the local stack.
# Build from the repository's root: docker build -f deploy/container/connect.Dockerfile -t medialane-connect .
FROM maven:3.9-eclipse-temurin-17 AS jars
COPY deploy/local/jars/plugin/pom.xml /plugin/pom.xml
RUN mvn --batch-mode --no-transfer-progress --file /plugin/pom.xml dependency:copy-dependencies \
        -DincludeScope=runtime -DoutputDirectory=/plugins/debezium

FROM apache/kafka:4.3.1
COPY --from=jars /plugins /opt/connect/plugins
COPY deploy/container/connect.properties /opt/connect/connect.properties
EXPOSE 8083
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8083/connectors"]
ENTRYPOINT ["/opt/kafka/bin/connect-distributed.sh", "/opt/connect/connect.properties"]
